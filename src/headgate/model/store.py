"""Objects by kind and key, with the indexes that questions need; whoever reads is recorded by the tracker.

A source hands over changes, `apply` says to the tracker which facts they touched. A fact is one object, the
names of a kind in a namespace, one entry of an index, or one entry of a table of things that are no objects
(addresses of host names, contents of files).
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from zlib import crc32

import msgspec
from msgspec.structs import replace

from headgate.model.meta import Identity, KubeObject
from headgate.model.problems import Place, Problem
from headgate.model.tracker import Tracker

T = TypeVar("T", bound=KubeObject)

Index = Callable[[KubeObject], Iterable[Hashable]]
"""The keys under which an object is found; equal objects have equal keys."""

BUCKETS = 64
"""Parts into which `bucket` divides the objects of a kind: who must look at all of them computes each part by
itself and then what the parts have in common, so that one changed object costs one part."""


class Change(msgspec.Struct, frozen=True):
    """One object as it is now."""

    identity: Identity
    object: KubeObject | None
    """None: it is gone."""


class Store(Tracker):
    """The facts, and the computations over them: what every `fn(world, …)` is given."""

    def __init__(self, indexes: Mapping[str, Index]) -> None:
        """*indexes*: name → keys of an object; all of them see objects of every kind."""
        super().__init__()
        self._indexes = indexes
        self._objects: dict[Identity, KubeObject] = {}
        self._entries: dict[tuple[str, Hashable], set[Identity]] = {}
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
        """One entry of a table."""
        self.put(table, {**self._tables.get(table, {}), key: value})

    def put(self, table: str, entries: Mapping[Any, Any]) -> None:
        """Make *entries* the whole of a table."""
        before = self._tables.get(table, {})
        changed = [key for key, value in entries.items() if key not in before or before[key] != value]
        gone = before.keys() - entries.keys()
        self._tables[table] = dict(entries)
        self.touch([("table", table, key) for key in (*changed, *gone)])
        if gone or any(key not in before for key in changed):
            self.touch([("keys", table)])

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
        return tuple(sorted(self._entries.get((index, key), ())))

    def kind(self, cls: type[T], namespace: str | None = None) -> tuple[Identity, ...]:
        """Identities of all objects of a kind, or of those in one namespace, ordered."""
        return self.indexed("kind", (cls.GROUP, cls.KIND, namespace))

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
        names = self._entries.get(("text", where.object), ())
        for identity in names:
            return replace(problem, place=self.place(identity, where.field))
        return problem

    def entry(self, table: str, key: Hashable) -> Any:
        """What a table has under *key*, or None."""
        self.read(("table", table, key))
        return self._tables.get(table, {}).get(key)

    def keys(self, table: str) -> tuple[Hashable, ...]:
        """The keys of a table."""
        self.read(("keys", table))
        return tuple(self._tables.get(table, {}))

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
            self._entries[entry].discard(identity)
            if not self._entries[entry]:
                del self._entries[entry]
            touched["entry", *entry] = None
        for entry in new - old:
            self._entries.setdefault(entry, set()).add(identity)
            touched["entry", *entry] = None

    def _keys(self, each: KubeObject) -> Iterator[tuple[str, Hashable]]:
        identity = each.identity
        yield "kind", (identity.group, identity.kind, None)
        yield "text", str(identity)
        yield "bucket", (identity.group, identity.kind, bucket_of(identity))
        if identity.namespace:
            yield "kind", (identity.group, identity.kind, identity.namespace)
        for name, index in self._indexes.items():
            for key in index(each):
                yield name, key


def bucket_of(identity: Identity) -> int:
    """Which part an object belongs to; the same in every process."""
    return crc32(f"{identity.namespace}/{identity.name}".encode()) % BUCKETS
