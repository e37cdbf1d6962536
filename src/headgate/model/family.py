"""Many values of one kind, followed: which of them changed since the last look."""

from collections.abc import Callable, Hashable, Iterable
from typing import Generic, TypeVar

from headgate.model.tracker import Node, Tracker

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


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

    def owns(self, node: Node) -> bool:
        """Whether *node* is one of this family's, so that `refresh` must be told of it."""
        return node == self._members or node.fn is self._member

    def refresh(self, stale: Iterable[Node]) -> tuple[dict[K, V], set[K]]:
        """What changed and what is gone, given the *stale* nodes of this family; `values` is as now.

        Raises what a computation raises; nothing is lost then: the same nodes may be given again.
        """
        again = [node.args[0] for node in stale if node.fn is self._member]
        members: frozenset[K] = self._tracker.get(self._members.fn, *self._members.args)
        gone, new = self._known - members, members - self._known
        for key in new:
            self._tracker.watch(Node(self._member, (key,)))
        changed: dict[K, V] = {}
        for key in (*new, *again):
            if key in members:
                value = self._tracker.get(self._member, key)
                if key not in self.values or self.values[key] != value:
                    changed[key] = self.values[key] = value
        for key in gone:
            self._tracker.unwatch(Node(self._member, (key,)))
            self.values.pop(key, None)
        self._known = members
        return changed, set(gone)
