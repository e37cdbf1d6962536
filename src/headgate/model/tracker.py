"""Computations over what is read, remembered until something that they read changes.

A computation is a function `fn(world, *args)` of module level, called as `world.get(fn, *args)`; its *node*
is the pair (fn, args). While it runs, all that it reads is recorded: facts (by `read`) and computations.
`touch` says which facts changed. Nodes that read them are then *dirty*, and what stands above those *unsure*:
asking for an unsure node settles what is below it first, and an equal result stops there.

The law: what `get` returns equals what a new tracker would return over the same facts.
"""

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, Concatenate, NamedTuple, ParamSpec, Self, TypeVar

V = TypeVar("V")
P = ParamSpec("P")
W = TypeVar("W", bound="Tracker")


MANY = 50
"""Readers from which on a node is settled before they are marked."""


class Node(NamedTuple):
    """A computation with its arguments."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]


class Failed:
    """What a computation raised, kept in place of a value and raised again for whoever asks."""

    __slots__ = ("error",)

    def __init__(self, error: Exception) -> None:
        self.error = error


class _Read:
    """A fact or a node, as the tracker knows it: what runs reads this, not its key."""

    __slots__ = ("readers",)

    def __init__(self) -> None:
        self.readers: Collection[_Kept] = ()
        """Exactly the inverse of `_Kept.reads`; a tuple of few, a set of many: most have one."""


class _Fact(_Read):
    """A fact."""

    __slots__ = ("key",)

    def __init__(self, key: Hashable) -> None:
        super().__init__()
        self.key = key


class _Kept(_Read):
    """A node, and what is remembered of it."""

    __slots__ = ("dirty", "key", "reads", "unsure", "value")

    def __init__(self, key: Node) -> None:
        super().__init__()
        self.key = key
        self.value: Any = _NEVER
        """Of its last run; `Failed` for an exception, `_NEVER` before the first."""
        self.reads: tuple[_Read, ...] = ()
        """What it read in its last run, in order."""
        self.dirty = True
        """Something that it reads is another than when it ran, or it never ran."""
        self.unsure: set[_Kept] | None = None
        """Which of its reads are in doubt, since something below them may be another; None: none, or it is
        dirty. So a node that reads thousands costs what is in doubt of it."""

    def is_marked(self) -> bool:
        """Whether its value may be another."""
        return self.dirty or self.unsure is not None


_NEVER = object()

FEW = 8
"""Readers up to which they are a tuple."""


class Tracker:
    """All nodes of one process. Not for several threads."""

    def __init__(self) -> None:
        self._nodes: dict[tuple[Callable[..., Any], tuple[Any, ...]], _Kept] = {}
        self._facts: dict[Hashable, _Fact] = {}
        """Those that were read."""
        self._hubs: dict[_Kept, None] = {}
        """Marked nodes with many readers, which are not marked: most of them stay as they are, so they are
        settled before anything is asked. Empty whenever a computation runs for somebody else."""
        self._watched: set[_Kept] = set()
        self._stale: dict[_Kept, None] = {}
        """Watched nodes that were marked since `take_stale`."""
        self._unread: set[_Read] = set()
        """Facts and nodes that may have no reader; they leave with `collect`."""
        self._running: list[dict[_Read, None]] = []
        """What the running computations have read so far, in order."""
        self.runs = 0
        """Computations run so far: the cost of a change, for tests."""

    @property
    def nodes(self) -> int:
        """How many are remembered."""
        return len(self._nodes)

    def read(self, fact: Hashable) -> None:
        """Note that the running computation depends on *fact*, which must not be a Node."""
        if self._running:
            found = self._facts.get(fact)
            if found is None:
                found = self._facts[fact] = _Fact(fact)
            self._running[-1][found] = None

    def touch(self, facts: Iterable[Hashable]) -> None:
        """These facts are other ones now."""
        above: list[_Kept] = []
        for fact in facts:
            found = self._facts.get(fact)
            if found is not None:
                above += self._mark_dirty(found)
        self._mark_unsure(above, self._hubs)

    def get(self, fn: Callable[Concatenate[Self, P], V], *args: P.args, **no_keywords: P.kwargs) -> V:
        """The value of the computation. Raises what *fn* raises."""
        node = self._nodes.get((fn, args))
        if node is None:
            node = self._new(Node(fn, args))
        if self._running:
            self._running[-1][node] = None
        else:
            self._settle_hubs()
            if not node.readers and node not in self._watched:
                self._unread.add(node)
        value: Any = self._settled(node)
        if type(value) is Failed:
            raise value.error
        return value  # type: ignore[no-any-return]

    def watch(self, node: Node, *, asked: bool = False) -> None:
        """Keep *node*, and tell by `take_stale` when its value may have changed. It counts as stale now,
        unless the caller is about to ask for its value anyhow (*asked*)."""
        kept = self._nodes.get(node) or self._new(node)
        self._watched.add(kept)
        if not asked:
            self._stale[kept] = None

    def unwatch(self, node: Node) -> None:
        """Undo `watch`."""
        kept = self._nodes.get(node)
        if kept is not None:
            self._watched.discard(kept)
            self._stale.pop(kept, None)
            self._unread.add(kept)

    def take_stale(self) -> tuple[Node, ...]:
        """Watched nodes whose value may have changed since the last call, in the order of their marking."""
        self._settle_hubs()
        stale, self._stale = tuple(each.key for each in self._stale), {}
        return stale

    def facts_of(self, node: Node) -> set[Hashable]:
        """All facts that the value of *node* depends on, at any depth, as of the last runs."""
        kept = self._nodes.get(node)
        seen: set[_Read] = set() if kept is None else {kept}
        todo = list(seen)
        while todo:
            each = todo.pop()
            if isinstance(each, _Kept):
                new = [one for one in each.reads if one not in seen]
                seen.update(new)
                todo += new
        return {each.key for each in seen if isinstance(each, _Fact)}

    def collect(self) -> None:
        """Forget what nothing reads and nobody watches, and what only that reads."""
        while self._unread:
            each = self._unread.pop()
            if each.readers or each in self._watched:
                continue
            if isinstance(each, _Kept):
                del self._nodes[each.key]
                self._forget_reads(each, each.reads)
                each.value = _NEVER
            elif isinstance(each, _Fact):
                del self._facts[each.key]

    def _new(self, node: Node) -> _Kept:
        kept = self._nodes[node] = _Kept(node)
        return kept

    def _settle_hubs(self) -> None:
        """After this everything is marked that has to be."""
        while self._hubs:
            node, _ = self._hubs.popitem()
            if node.value is not _NEVER:
                self._settled(node)  # marks its readers when it is another

    def _settled(self, node: _Kept) -> Any:
        if node.unsure is not None:
            self._settle_below(node, node.unsure)
        if node.dirty:
            self._run(node)
        return node.value

    def _settle_below(self, node: _Kept, unsure: set[_Kept]) -> None:
        """After this the node is dirty, or its value counts."""
        for each in tuple(unsure) if len(unsure) == 1 else [each for each in node.reads if each in unsure]:
            assert isinstance(each, _Kept)
            if each.is_marked():
                self._settled(each)  # marks its readers dirty when it is another
                if node.dirty:
                    return
        node.unsure = None

    def _run(self, node: _Kept) -> None:
        self.runs += 1
        reads: dict[_Read, None] = {}
        self._running.append(reads)
        value: Any
        try:
            value = node.key.fn(self, *node.key.args)
        except Exception as error:
            value = Failed(error)
        finally:
            self._running.pop()
        before, node.reads = node.reads, tuple(reads)
        if before != node.reads:
            known = set(before)
            for each in reads:
                if each not in known:
                    _add_reader(each, node)
            self._forget_reads(node, [each for each in before if each not in reads])
        node.dirty, node.unsure = False, None
        if node.value is _NEVER:
            node.value = value
        elif node.value != value:
            node.value = value
            self._mark_unsure(self._mark_dirty(node))

    def _forget_reads(self, node: _Kept, reads: Iterable[_Read]) -> None:
        for each in reads:
            _remove_reader(each, node)
            if not each.readers:
                self._unread.add(each)

    def _mark_dirty(self, read: _Read) -> list[_Kept]:
        """Mark the readers; those that were not marked before."""
        new: list[_Kept] = []
        for node in read.readers:
            if not node.dirty:
                node.dirty = True
                if node.unsure is None:
                    new.append(node)  # else what is above it is marked already
                node.unsure = None
        return new

    def _mark_unsure(self, below: list[_Kept], hubs: dict[_Kept, None] | None = None) -> None:
        """Mark all that stands above the *below*, which were marked just now; but not above those with many
        readers, where *hubs* is given to note them."""
        while below:
            node = below.pop()
            if node in self._watched:
                self._stale[node] = None
            if hubs is not None and len(node.readers) > MANY:
                hubs[node] = None
                continue
            for reader in node.readers:
                if reader.unsure is not None:
                    reader.unsure.add(node)
                elif not reader.dirty:
                    reader.unsure = {node}
                    below.append(reader)


def _add_reader(read: _Read, node: _Kept) -> None:
    readers = read.readers
    if not readers:
        read.readers = (node,)
    elif isinstance(readers, set):
        readers.add(node)
    elif len(readers) < FEW:
        read.readers = (*readers, node)
    else:
        read.readers = {*readers, node}


def _remove_reader(read: _Read, node: _Kept) -> None:
    readers = read.readers
    if isinstance(readers, set):
        readers.discard(node)
    else:
        read.readers = tuple([each for each in readers if each is not node])
