"""Many values of one kind, followed: which of them changed since the last look."""

from collections.abc import Callable, Hashable, Iterable, Mapping
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

    def __init__(self, tracker: Tracker, members: Iterable[Node], member: Callable[..., V]) -> None:
        """Each of *members* yields a frozenset of arguments of *member*; no two of them have one in common
        at the same time."""
        self._tracker = tracker
        self._member = member
        self._known: dict[Node, frozenset[K]] = {each: frozenset() for each in members}
        self._members: set[K] = set()
        self._due: dict[K, None] = {}
        """Members that may have another value than is known."""
        self._failed: set[K] = set()
        self.values: dict[K, V] = {}
        for each in self._known:
            tracker.watch(each)

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
        again: list[K] = []
        parts: dict[Node, frozenset[K]] = {}
        for node in stale:
            if node.fn is self._member:
                again.append(node.args[0])
            elif node in self._known:
                parts[node] = self._tracker.get(node.fn, *node.args)
        gone, new = self._moved(parts) if parts else (set(), set())
        self._known |= parts
        for key in new:
            self._tracker.watch(Node(self._member, (key,)), asked=True)
            self._members.add(key)
            self._due[key] = None
        for key in gone:
            self._tracker.unwatch(Node(self._member, (key,)))
            self._members.discard(key)
            self._due.pop(key, None)
            self._failed.discard(key)
            self.values.pop(key, None)
        for key in again:
            if key in self._members:
                self._due[key] = None
        changed: dict[K, V] = {}
        failed: dict[K, Exception] = {}
        if not self._due:
            return Refreshed(changed, gone, failed)
        for key in tuple(self._due):
            if most_runs is not None and self._tracker.runs - began >= most_runs:
                break
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
        if not self._due:
            self._due = {}  # a dict that was large stays slow
        return Refreshed(changed, gone, failed)

    def _moved(self, parts: Mapping[Node, frozenset[K]]) -> tuple[set[K], set[K]]:
        """Members that are gone, and those that are new; one that is in another part now is neither."""
        before: set[K] = set()
        after: set[K] = set()
        for node, members in parts.items():
            known = self._known[node]
            before |= known - members
            after |= members - known
        return before - after, after - before
