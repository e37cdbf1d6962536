"""Flows share tokens in proportion to their weights: start-time fair queueing.

Every flow has a mark: tokens it got, divided by its weight, on a scale that all flows of the band share. The
lowest mark is next. A flow that comes back starts where the others are: what it did not use while it was away
is lost, what it used too much is not forgiven.
"""

from heapq import heapify, heappop, heappush

from headgate.flow.api import Fairness, Flow, RunningFairness


class WeightedTokens(Fairness, frozen=True):
    """The flow that got least tokens for its weight is next."""

    def start(self) -> RunningFairness:
        """See `Fairness.start`."""
        return _Marks()


class _Marks:
    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flow]] = []
        """A flow's entry counts when its mark is still the one in it and it is listed."""
        self._listed = 0
        self._count = 0
        self._reached = 0.0
        """Mark of the flow served last: where those that come are let in."""

    def add(self, flow: Flow) -> None:
        if not flow.listed:
            flow.mark = max(flow.mark, self._reached)
            self._list(flow)

    def _list(self, flow: Flow) -> None:
        if not flow.listed:
            flow.listed = True
            self._listed += 1
        self._count += 1
        heappush(self._heap, (flow.mark, self._count, flow))
        if len(self._heap) > 2 * self._listed + 64:
            seen: set[int] = set()
            kept = []
            for entry in self._heap:
                if entry[2].listed and entry[0] == entry[2].mark and id(entry[2]) not in seen:
                    seen.add(id(entry[2]))
                    kept.append(entry)
            self._heap = kept
            heapify(kept)

    def take(self) -> Flow | None:
        heap = self._heap
        while heap:
            mark, _, flow = heappop(heap)
            if not flow.listed or mark != flow.mark:
                continue
            flow.listed = False
            self._listed -= 1
            if flow.queued:
                return flow
        return None

    def put_back(self, flow: Flow) -> None:
        # Its count is a new one: of flows with equal marks another may come first now. That is as fair.
        self._list(flow)

    def served(self, flow: Flow, tokens: float) -> None:
        self._reached = max(self._reached, flow.mark)
        flow.mark += tokens / flow.account.weight
        if flow.queued:
            self._list(flow)

    def corrected(self, flow: Flow, tokens: float) -> None:
        if not tokens:
            return
        flow.mark += tokens / flow.account.weight
        if flow.listed:
            self._list(flow)

    def owes(self, flow: Flow) -> bool:
        return flow.listed or flow.mark > self._reached

    def ahead(self, flow: Flow) -> float:
        return (flow.mark - self._reached) * flow.account.weight
