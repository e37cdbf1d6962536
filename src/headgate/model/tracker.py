"""Computations over what is read, remembered until something that they read changes.

A computation is a function `fn(world, *args)` of module level, called as `world.get(fn, *args)`; its *node*
is the pair (fn, args). While it runs, all that it reads is recorded: facts (by `read`) and computations.
`touch` says which facts changed. Nodes that read them are then *dirty*, and what stands above those *unsure*:
asking for an unsure node settles what is below it first, and an equal result stops there.

The law: what `get` returns equals what a new tracker would return over the same facts.
"""

from collections.abc import Callable, Container, Hashable, Iterable
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


class Failed(NamedTuple):
    """What a computation raised, kept in place of a value and raised again for whoever asks."""

    error: Exception


class Tracker:
    """All nodes of one process. Not for several threads."""

    def __init__(self) -> None:
        self._values: dict[Node, Any] = {}
        """Of each node as of its last run; `Failed` for an exception."""
        self._reads: dict[Node, dict[Hashable, int]] = {}
        """What each node read in its last run, facts and nodes, each with its turn."""
        self._readers: dict[Hashable, set[Node]] = {}
        """Exactly the inverse of `_reads`."""
        self._dirty: set[Node] = set()
        """Something that they read is another than when they ran."""
        self._unsure: dict[Node, set[Node]] = {}
        """Nodes below which something may be, never in `_dirty` too → which of their reads are in doubt:
        so a node that reads thousands costs what is in doubt of it."""
        self._hubs: dict[Node, None] = {}
        """Marked nodes with many readers, which are not marked: most of them stay as they are, so they are
        settled before anything is asked. Empty whenever a computation runs for somebody else."""
        self._watched: set[Node] = set()
        self._stale: dict[Node, None] = {}
        """Watched nodes that were marked since `take_stale`."""
        self._unread: set[Node] = set()
        """Nodes that may have no reader; they leave with `collect`."""
        self._running: list[dict[Hashable, int]] = []
        self.runs = 0
        """Computations run so far: the cost of a change, for tests."""

    @property
    def nodes(self) -> int:
        """How many are remembered."""
        return len(self._values)

    def read(self, fact: Hashable) -> None:
        """Note that the running computation depends on *fact*, which must not be a Node."""
        if self._running:
            reads = self._running[-1]
            reads.setdefault(fact, len(reads))

    def touch(self, facts: Iterable[Hashable]) -> None:
        """These facts are other ones now."""
        above: list[Node] = []
        for fact in facts:
            above += self._mark_dirty(fact)
        self._mark_unsure(above, self._hubs)

    def get(self, fn: Callable[Concatenate[Self, P], V], *args: P.args, **no_keywords: P.kwargs) -> V:
        """The value of the computation. Raises what *fn* raises."""
        node = Node(fn, args)
        if self._running:
            reads = self._running[-1]
            reads.setdefault(node, len(reads))
        else:
            self._settle_hubs()
        if not self._running and node not in self._readers and node not in self._watched:
            self._unread.add(node)
        value: Any = self._settled(node)
        if type(value) is Failed:
            raise value.error
        return value  # type: ignore[no-any-return]

    def watch(self, node: Node, *, asked: bool = False) -> None:
        """Keep *node*, and tell by `take_stale` when its value may have changed. It counts as stale now,
        unless the caller is about to ask for its value anyhow (*asked*)."""
        self._watched.add(node)
        if not asked:
            self._stale[node] = None

    def unwatch(self, node: Node) -> None:
        """Undo `watch`."""
        self._watched.discard(node)
        self._stale.pop(node, None)
        self._unread.add(node)

    def take_stale(self) -> tuple[Node, ...]:
        """Watched nodes whose value may have changed since the last call, in the order of their marking."""
        self._settle_hubs()
        stale, self._stale = tuple(self._stale), {}
        return stale

    def facts_of(self, node: Node) -> set[Hashable]:
        """All facts that the value of *node* depends on, at any depth, as of the last runs."""
        found: set[Hashable] = set()
        seen, todo = {node}, [node]
        while todo:
            for each in self._reads.get(todo.pop(), ()):
                if not isinstance(each, Node):
                    found.add(each)
                elif each not in seen:
                    seen.add(each)
                    todo.append(each)
        return found

    def collect(self) -> None:
        """Forget nodes that nothing reads and nobody watches, and what only they read."""
        while self._unread:
            node = self._unread.pop()
            if node in self._watched or self._readers.get(node) or node not in self._values:
                continue
            del self._values[node]
            self._dirty.discard(node)
            self._unsure.pop(node, None)
            self._forget_reads(node, self._reads.pop(node), {})

    def _settle_hubs(self) -> None:
        """After this everything is marked that has to be."""
        while self._hubs:
            node, _ = self._hubs.popitem()
            if node in self._values:
                self._settled(node)  # marks its readers when it is another

    def _settled(self, node: Node) -> Any:
        if node in self._values:
            if node in self._unsure:
                self._settle_below(node)
            if node not in self._dirty:
                return self._values[node]
        return self._run(node)

    def _settle_below(self, node: Node) -> None:
        """After this the node is dirty, or its value counts."""
        for each in sorted(self._unsure[node], key=self._reads[node].__getitem__):
            if each in self._dirty or each in self._unsure:
                self._settled(each)  # marks its readers dirty when it is another
                if node in self._dirty:
                    return
        self._unsure.pop(node, None)

    def _run(self, node: Node) -> Any:
        self.runs += 1
        reads: dict[Hashable, int] = {}
        self._running.append(reads)
        value: Any
        try:
            value = node.fn(self, *node.args)
        except Exception as error:
            value = Failed(error)
        finally:
            self._running.pop()
        before = self._reads.get(node, {})
        self._reads[node] = reads
        for each in reads:
            if each not in before:
                self._readers.setdefault(each, set()).add(node)
        self._forget_reads(node, before, reads)
        self._dirty.discard(node)
        self._unsure.pop(node, None)
        if node not in self._values or self._values[node] != value:
            known = node in self._values
            self._values[node] = value
            if known:
                self._mark_unsure(self._mark_dirty(node))
        return self._values[node]

    def _forget_reads(self, node: Node, before: Iterable[Hashable], kept: Container[Hashable]) -> None:
        for each in before:
            if each in kept:
                continue
            readers = self._readers[each]
            readers.discard(node)
            if not readers:
                del self._readers[each]
                if isinstance(each, Node):
                    self._unread.add(each)

    def _mark_dirty(self, read: Hashable) -> list[Node]:
        """Mark the readers; those that were not marked before."""
        new: list[Node] = []
        for node in self._readers.get(read, ()):
            if node not in self._dirty:
                self._dirty.add(node)
                if self._unsure.pop(node, None) is None:
                    new.append(node)  # else what is above it is marked already
        return new

    def _mark_unsure(self, below: list[Node], hubs: dict[Node, None] | None = None) -> None:
        """Mark all that stands above the *below*, which were marked just now; but not above those with many
        readers, where *hubs* is given to note them."""
        while below:
            node = below.pop()
            if node in self._watched:
                self._stale[node] = None
            readers = self._readers.get(node, ())
            if hubs is not None and len(readers) > MANY:
                hubs[node] = None
                continue
            for reader in readers:
                if reader in self._unsure:
                    self._unsure[reader].add(node)
                elif reader not in self._dirty:
                    self._unsure[reader] = {node}
                    below.append(reader)
