"""Objects by kind and key, with the indexes that questions need; whoever reads is recorded by the tracker.

A source hands over changes, `apply` says to the tracker which facts they touched. A fact is one object, the
names of a kind in a namespace, one entry of an index, or one entry of a table of things that are no objects
(addresses of host names, contents of files).
"""

from bisect import bisect_left
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from zlib import crc32

from msgspec.structs import replace

from headgate.model.change import Change
from headgate.model.meta import Identity, KubeObject
from headgate.model.problems import Place, Problem
from headgate.model.tracker import Node, Tracker

T = TypeVar("T", bound=KubeObject)

Index = Callable[[KubeObject], Iterable[Hashable]]
"""The keys under which an object is found; equal objects have equal keys."""

BUCKETS = 64
"""Parts into which `bucket` divides the objects of a kind: who must look at all of them computes each part by
itself and then what the parts have in common, so that one changed object costs one part."""


MOST_MERGED = 64
"""Changes that are merged one by one into an ordered list; after more of them it is sorted anew."""


class _Members:
    """What stands under one key of an index. Asked for in order, it costs what changed since it was last."""

    __slots__ = ("_changed", "_ordered", "all")

    def __init__(self) -> None:
        self.all: set[Identity] = set()
        self._ordered: tuple[Identity, ...] | None = None
        self._changed: list[Identity] = []

    def enter(self, identity: Identity) -> None:
        """It belongs to them now."""
        self.all.add(identity)
        self._note(identity)

    def leave(self, identity: Identity) -> None:
        """It does not any more."""
        self.all.discard(identity)
        self._note(identity)

    def ordered(self) -> tuple[Identity, ...]:
        """All of them."""
        if self._ordered is None:
            self._ordered = tuple(sorted(self.all))
        elif self._changed:
            found = list(self._ordered)
            for each in self._changed:
                at = bisect_left(found, each)
                known = at < len(found) and found[at] == each
                if known and each not in self.all:
                    del found[at]
                elif not known and each in self.all:
                    found.insert(at, each)
            self._ordered = tuple(found)
        self._changed.clear()
        return self._ordered

    def _note(self, identity: Identity) -> None:
        if self._ordered is None:
            return
        self._changed.append(identity)
        if len(self._changed) > MOST_MERGED:
            self._ordered = None
            self._changed.clear()


class Store(Tracker):
    """The facts, and the computations over them: what every `fn(world, …)` is given."""

    def __init__(self, indexes: Mapping[str, Index]) -> None:
        """*indexes*: name → keys of an object; all of them see objects of every kind."""
        super().__init__()
        self._indexes = indexes
        self._objects: dict[Identity, KubeObject] = {}
        self._entries: dict[tuple[str, Hashable], _Members] = {}
        self._tables: dict[str, dict[Hashable, Any]] = {}

    def apply(self, changes: Iterable[Change]) -> None:
        """Take in *changes*; what equals what is there touches nothing."""
        touched: dict[Hashable, None] = {}
        for change in changes:
            before, after = self._objects.get(change.identity), change.object
            if before is after:
                continue
            if after is None:
                del self._objects[change.identity]
            else:
                self._objects[change.identity] = after  # also when only its place is another
            if before != after:
                touched["object", change.identity] = None
                self._reindex(change.identity, before, after, touched)
        self.touch(touched)

    def set(self, table: str, key: Hashable, value: Any) -> None:
        """One entry of a table; None: it has none under *key* any more."""
        entries = self._tables.setdefault(table, {})
        known = key in entries
        if entries.get(key) == value:
            return
        if value is None:
            del entries[key]
        else:
            entries[key] = value
        self.touch(
            [("table", table, key)]
            if known and value is not None
            else [("table", table, key), ("keys", table)]
        )

    def put(self, table: str, entries: Mapping[Any, Any]) -> None:
        """Make *entries* the whole of a table."""
        for key in [key for key in self._tables.get(table, ()) if key not in entries]:
            self.set(table, key, None)
        for key, value in entries.items():
            self.set(table, key, value)

    def object(self, cls: type[T], namespace: str, name: str) -> T | None:
        """The object of that kind, or None. Namespace is empty for kinds without one."""
        found = self.any_object(Identity(cls.KIND, namespace if cls.NAMESPACED else "", name, cls.GROUP))
        return found if isinstance(found, cls) else None

    def any_object(self, identity: Identity) -> KubeObject | None:
        """The object, or None."""
        self.read(("object", identity))
        return self._objects.get(identity)

    def indexed(self, index: str, key: Hashable) -> tuple[Identity, ...]:
        """Identities of the objects under *key*, ordered."""
        self.read(("entry", index, key))
        found = self._entries.get((index, key))
        return () if found is None else found.ordered()

    def is_indexed(self, index: str, key: Hashable, identity: Identity) -> bool:
        """Whether *identity* is one of those."""
        self.read(("member", index, key, identity))
        found = self._entries.get((index, key))
        return found is not None and identity in found.all

    def count(self, index: str, key: Hashable) -> int:
        """How many those are. Not recorded: no result may depend on it, only the way to it."""
        found = self._entries.get((index, key))
        return 0 if found is None else len(found.all)

    def kind(self, cls: type[T], namespace: str | None = None) -> tuple[Identity, ...]:
        """Identities of all objects of a kind, or of those in one namespace, ordered."""
        return self.indexed("kind", (cls.GROUP, cls.KIND, namespace))

    def named(self, kind: str, name: str) -> tuple[Identity, ...]:
        """Identities of all objects of a kind and a name, in whatever namespace and API group, ordered."""
        return self.indexed("name", (kind, name))

    def bucket(self, cls: type[T], number: int) -> tuple[Identity, ...]:
        """Identities of one of `BUCKETS` parts of all objects of a kind, ordered."""
        return self.indexed("bucket", (cls.GROUP, cls.KIND, number))

    def place(self, identity: Identity, field: str = "") -> Place:
        """Where *field* of the object is written now. Not recorded: an object is the same wherever it stands,
        so results name objects and fields, and whoever tells of them asks for the place."""
        found = self._objects.get(identity)
        return Place(object=str(identity), field=field) if found is None else found.place(field)

    def located(self, problem: Problem) -> Problem:
        """*problem* with the file and the line where its object and field are written now."""
        where = problem.place
        kind, _, rest = where.object.partition(" ")
        members = self._entries.get(("name", (kind, rest.rpartition("/")[2])))
        found = () if members is None else [each for each in members.all if str(each) == where.object]
        return replace(problem, place=self.place(min(found), where.field)) if found else problem

    def entry(self, table: str, key: Hashable) -> Any:
        """What a table has under *key*, or None."""
        self.read(("table", table, key))
        return self._tables.get(table, {}).get(key)

    def keys(self, table: str) -> tuple[Hashable, ...]:
        """The keys of a table."""
        self.read(("keys", table))
        return tuple(self._tables.get(table, {}))

    def table(self, name: str) -> Mapping[Any, Any]:
        """A whole table as it is now. Not recorded: for shells and tests."""
        return dict(self._tables.get(name, {}))

    def held(self, identity: Identity) -> KubeObject | None:
        """The object, or None. Not recorded: for shells and tests."""
        return self._objects.get(identity)

    def identities(self) -> Iterator[Identity]:
        """Everything that is there now. Not recorded: for shells and tests."""
        yield from self._objects

    def _reindex(
        self,
        identity: Identity,
        before: KubeObject | None,
        after: KubeObject | None,
        touched: dict[Hashable, None],
    ) -> None:
        old = set(self._keys(before)) if before is not None else set()
        new = set(self._keys(after)) if after is not None else set()
        for entry in old - new:
            members = self._entries[entry]
            members.leave(identity)
            if not members.all:
                del self._entries[entry]
        for entry in new - old:
            self._entries.setdefault(entry, _Members()).enter(identity)
        for entry in old ^ new:
            touched["entry", *entry] = None
            touched["member", *entry, identity] = None

    def _keys(self, each: KubeObject) -> Iterator[tuple[str, Hashable]]:
        identity = each.identity
        yield "kind", (identity.group, identity.kind, None)
        yield "name", (identity.kind, identity.name)
        yield "bucket", (identity.group, identity.kind, bucket_of(identity))
        if identity.namespace:
            yield "kind", (identity.group, identity.kind, identity.namespace)
        for name, index in self._indexes.items():
            for key in index(each):
                yield name, key


def bucket_of(identity: Identity) -> int:
    """Which part an object belongs to; the same in every process."""
    return crc32(f"{identity.namespace}/{identity.name}".encode()) % BUCKETS


def in_parts(fn: Callable[..., Any]) -> tuple[Node, ...]:
    """The computations *fn(world, number)* of all `BUCKETS` parts."""
    return tuple(Node(fn, (number,)) for number in range(BUCKETS))
