"""Many values of one kind, followed: which of them changed since the last look."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from headgate.model.tracker import Node, Tracker

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Refreshed(NamedTuple, Generic[K, V]):
    """What is new since the last look."""

    changed: dict[K, V]
    gone: set[K]
    failed: dict[K, Exception]
    """Members whose computation raised; they keep the value they had, or none."""


class Family(Generic[K, V]):
    """Many watched computations with one argument, one for each member of a set that is computed itself.

    `refresh` costs what changed, not what there is.
    """

    def __init__(self, tracker: Tracker, members: Node, member: Callable[..., V]) -> None:
        """*members* yields a frozenset of arguments of *member*."""
        self._tracker = tracker
        self._members = members
        self._member = member
        self._known: frozenset[K] = frozenset()
        self.values: dict[K, V] = {}
        tracker.watch(members)

    def refresh(self, stale: Iterable[Node]) -> Refreshed[K, V]:
        """What changed and what is gone; *stale* is what `Tracker.take_stale` said, other nodes are skipped.

        Raises what the computation of the members raises; then the same nodes have to be given again.
        """
        again: list[K] = [node.args[0] for node in stale if node.fn is self._member]
        members: frozenset[K] = self._tracker.get(self._members.fn, *self._members.args)
        if members is not self._known:
            gone, new = self._known - members, members - self._known
        else:
            gone = new = frozenset()
        for key in new:
            self._tracker.watch(Node(self._member, (key,)))
        changed: dict[K, V] = {}
        failed: dict[K, Exception] = {}
        for key in dict.fromkeys((*new, *again)):
            if key not in members:
                continue
            try:
                value = self._tracker.get(self._member, key)
            except Exception as error:
                failed[key] = error
                continue
            if key not in self.values or self.values[key] != value:
                changed[key] = self.values[key] = value
        for key in gone:
            self._tracker.unwatch(Node(self._member, (key,)))
            self.values.pop(key, None)
        self._known = members
        return Refreshed(changed, set(gone), failed)
