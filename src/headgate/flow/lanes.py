"""Where requests wait: by kind, by priority, by fairness id."""

from collections.abc import Hashable

from headgate.flow.api import RunningFairness
from headgate.flow.queue import COMPACT, Flow, Heap
from headgate.flow.settings import BandSettings


class Band:
    """All that wait with one priority, whatever their kind."""

    __slots__ = ("bytes", "newest", "priority", "queued", "settings")

    def __init__(self, priority: int, settings: BandSettings) -> None:
        self.priority = priority
        self.settings = settings
        self.queued = 0
        self.bytes = 0
        self.newest = Heap()


class Rank:
    """The requests of one kind and priority."""

    __slots__ = ("fairness", "flows", "priority", "queued", "served_at", "settings")

    def __init__(self, priority: int, settings: BandSettings) -> None:
        self.priority = priority
        self.settings = settings
        self.fairness: RunningFairness = settings.fairness.start()
        self.flows: dict[str, Flow] = {}
        """By fairness id."""
        self.queued = 0
        self.served_at = 0.0
        """When one of them went last, or began to wait where nobody waited before."""


class Lane:
    """The requests of one kind: whoever has room for one of them has it for each."""

    __slots__ = ("kind", "order", "queued", "ranks", "turn")

    def __init__(self, kind: Hashable) -> None:
        self.kind = kind
        self.ranks: dict[int, Rank] = {}
        self.order: list[Rank] = []
        """The same, the most important first."""
        self.queued = 0
        self.turn = 0
        """Number of the turn in which one of them went last."""

    def check(self) -> None:
        """Assert that sums and both directions agree."""
        assert self.order == sorted(self.ranks.values(), key=by_priority, reverse=True)
        assert self.queued == sum(rank.queued for rank in self.order)
        for rank in self.order:
            assert rank.flows and rank.queued == sum(flow.queued for flow in rank.flows.values())
            for who, flow in rank.flows.items():
                assert flow in flow.account.flows and flow.account.id == who
                assert flow.queued == len(flow.heap.live())
                assert flow.heap.size() <= 2 * flow.queued + COMPACT


def by_priority(rank: Rank) -> int:
    """What ranks are ordered by."""
    return rank.priority
