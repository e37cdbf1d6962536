"""All objects at one instant, and what changes: what a source yields and both halves start from."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress, count
from operator import is_not
from typing import Any

import msgspec

from headgate.model.absent import broken_tables
from headgate.model.api_keys import ApiKey
from headgate.model.change import Change
from headgate.model.forbidden import Own
from headgate.model.objects import Object
from headgate.model.problems import Problem
from headgate.model.store import Store


class Snapshot(msgspec.Struct, frozen=True):
    """Every object that counts now. Whole, never a difference; sorted, so that equal inputs are equal."""

    objects: tuple[Object, ...] = ()
    """Ordered by kind, namespace, name; identities are unique."""
    addresses: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Host name → IP addresses, for the hosts of ModelServer URLs; a missing host did not resolve."""
    problems: tuple[Problem, ...] = ()
    """What was wrong with the text the objects came from."""
    authorities: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Path → CA certificates (PEM), for the `caFile` of ModelServers; a missing one could not be read."""
    api_keys: Mapping[str, ApiKey] = msgspec.field(default_factory=dict)
    """`namespace/name` of a ModelServer → its key, where it names one that could be read."""
    own: Own = Own()
    """Where the gateway that serves this listens itself."""
    cluster: bool = False
    """The objects are a cluster's: what is not there is missing."""


class Entry(msgspec.Struct, frozen=True):
    """One entry of a table of facts that are no objects, as it is now."""

    table: str
    key: Any
    value: Any
    """None: it is gone."""


class Difference(msgspec.Struct, frozen=True):
    """What makes the facts of one snapshot those of the next."""

    changes: tuple[Change, ...] = ()
    entries: tuple[Entry, ...] = ()

    def then(self, later: "Difference") -> "Difference":
        """Both in one; what is said twice is as it was said last."""
        changes = {each.identity: each for each in (*self.changes, *later.changes)}
        entries = {(each.table, each.key): each for each in (*self.entries, *later.entries)}
        return Difference(tuple(changes.values()), tuple(entries.values()))

    def touches(self, table: str) -> bool:
        """Whether an entry of *table* is another."""
        return any(each.table == table for each in self.entries)

    def parts(self, size: int) -> Iterator["Difference"]:
        """The same as several of at most *size* facts, for who must not be busy for long."""
        for at in range(0, len(self.entries), size):
            yield Difference(entries=self.entries[at : at + size])
        for at in range(0, len(self.changes), size):
            yield Difference(self.changes[at : at + size])


def difference(before: Snapshot, after: Snapshot) -> Difference:
    """What *after* has that *before* has not. Objects that are the same instances are not looked at, so that
    a thousand of them take microseconds; others may still be equal, which the store finds out."""
    return Difference(tuple(_changes(before.objects, after.objects)), tuple(_entries(before, after)))


def take(world: Store, found: Difference) -> None:
    """Bring a store up to date."""
    for each in found.entries:
        world.set(each.table, each.key, each.value)
    world.apply(found.changes)


def read_problems(world: Store) -> tuple[Problem, ...]:
    """What is wrong with the text that the objects of a store came from, ordered."""
    return tuple(sorted(each for some in world.table(PROBLEMS).values() for each in some))


def held(world: Store) -> Snapshot:
    """What a store has, as a snapshot. Looks at everything."""
    return Snapshot(
        objects=tuple(world.held(each) for each in sorted(world.identities())),  # type: ignore[misc]
        addresses=world.table("addresses"),
        problems=read_problems(world),
        authorities=world.table("authorities"),
        api_keys=world.table("api_keys"),
        own=world.table("settings").get("own") or Own(),
        cluster=bool(world.table("settings").get("cluster")),
    )


def follow(world: Store, snapshot: Snapshot) -> None:
    """Make the store's objects and tables those of *snapshot*.

    Looks at everything; who follows a source takes `difference`s.
    """
    take(world, difference(held(world), snapshot))


PROBLEMS = "problems"
"""Table: text of an object (or the file, where it is no object) → what is wrong with how it is written."""


def _changes(before: tuple[Object, ...], after: tuple[Object, ...]) -> Iterator[Change]:
    start = _alike(before, after)
    end = _alike(before[start:][::-1], after[start:][::-1])
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    kept = set(map(id, old)).intersection(map(id, new))
    fresh = {each.identity: each for each in new if id(each) not in kept}
    for identity, each in fresh.items():
        yield Change(identity, each)
    for each in old:
        if id(each) not in kept and each.identity not in fresh:
            yield Change(each.identity, None)


def _alike(one: Sequence[Object], other: Sequence[Object]) -> int:
    """How many are the same instances, from the beginning."""
    return next(compress(count(), map(is_not, one, other)), min(len(one), len(other)))


def _entries(before: Snapshot, after: Snapshot) -> Iterator[Entry]:
    old, new = _tables(before), _tables(after)
    if before.problems != after.problems:
        old, new = {**old, **_of_problems(before)}, {**new, **_of_problems(after)}
    for table, entries in new.items():
        known = old[table]
        if known is entries:
            continue
        for key, value in entries.items():
            if key not in known or known[key] != value:
                yield Entry(table, key, value)
        for key in known:
            if key not in entries:
                yield Entry(table, key, None)


def _tables(snapshot: Snapshot) -> Mapping[str, Mapping[Any, Any]]:
    return {
        "addresses": snapshot.addresses,
        "authorities": snapshot.authorities,
        "api_keys": snapshot.api_keys,
        "settings": {"own": snapshot.own, "cluster": snapshot.cluster},
    }


def _of_problems(snapshot: Snapshot) -> Mapping[str, Mapping[Any, Any]]:
    broken, kinds = broken_tables(snapshot.problems)
    told: dict[str, list[Problem]] = {}
    for each in snapshot.problems:
        told.setdefault(each.place.object or each.place.file, []).append(each)
    return {
        PROBLEMS: {where: tuple(some) for where, some in told.items()},
        "broken": broken,
        "broken kinds": kinds,
    }
