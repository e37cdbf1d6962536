"""Flows take turns, a request each, whatever its size and their weights."""

from collections import deque

from headgate.flow.api import Fairness, Flow, RunningFairness


class RoundRobin(Fairness, frozen=True):
    """One request of each flow, then again from the first."""

    def start(self) -> RunningFairness:
        """See `Fairness.start`."""
        return _Turns()


class _Turns:
    def __init__(self) -> None:
        self._ring: deque[Flow] = deque()

    def add(self, flow: Flow) -> None:
        if not flow.listed:
            flow.listed = True
            self._ring.append(flow)

    def take(self) -> Flow | None:
        ring = self._ring
        while ring:
            flow = ring.popleft()
            flow.listed = False
            if flow.queued:
                return flow
        return None

    def put_back(self, flow: Flow) -> None:
        flow.listed = True
        self._ring.appendleft(flow)

    def served(self, flow: Flow, tokens: float) -> None:
        if flow.queued:
            self.add(flow)

    def corrected(self, flow: Flow, tokens: float) -> None:
        """Sizes do not matter."""

    def owes(self, flow: Flow) -> bool:
        return flow.listed

    def ahead(self, flow: Flow) -> float:
        return 0.0
