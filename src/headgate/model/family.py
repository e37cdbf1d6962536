"""Many values of one kind, followed: which of them changed since the last look."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, NamedTuple, TypeVar

from headgate.model.tracker import Node, Tracker

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Refreshed(NamedTuple, Generic[K, V]):
    """What is new since the last look."""

    changed: dict[K, V]
    """Members that have another value, and those that failed before."""
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
        self._due: dict[K, None] = {}
        """Members that may have another value than is known."""
        self._failed: set[K] = set()
        self.values: dict[K, V] = {}
        tracker.watch(members)

    @property
    def is_behind(self) -> bool:
        """Whether the last `refresh` left something over."""
        return bool(self._due)

    def refresh(self, stale: Iterable[Node], most_runs: int | None = None) -> Refreshed[K, V]:
        """What changed and what is gone; *stale* is what `Tracker.take_stale` said, other nodes are skipped.

        After *most_runs* computations it stops, with the member that it is at; what is left over comes with
        the next calls, as it is then. Raises what the computation of the members raises; then the same nodes
        have to be given again.
        """
        began = self._tracker.runs
        again: list[K] = [node.args[0] for node in stale if node.fn is self._member]
        members: frozenset[K] = self._tracker.get(self._members.fn, *self._members.args)
        gone: set[K] = set()
        if members is not self._known:
            gone = set(self._known - members)
            for key in members - self._known:
                self._tracker.watch(Node(self._member, (key,)))
                self._due[key] = None
        self._known = members
        for key in again:
            if key in members:
                self._due[key] = None
        for key in gone:
            self._tracker.unwatch(Node(self._member, (key,)))
            self._due.pop(key, None)
            self._failed.discard(key)
            self.values.pop(key, None)
        changed: dict[K, V] = {}
        failed: dict[K, Exception] = {}
        while self._due and (most_runs is None or self._tracker.runs - began < most_runs):
            key = next(iter(self._due))
            del self._due[key]
            try:
                value = self._tracker.get(self._member, key)
            except Exception as error:
                failed[key] = error
                self._failed.add(key)
                continue
            if key not in self.values or self.values[key] != value or key in self._failed:
                changed[key] = self.values[key] = value
                self._failed.discard(key)
        return Refreshed(changed, gone, failed)
