"""Everyone in turn."""

from collections.abc import Sequence

from headgate.model.randomness import Rng
from headgate.scheduling.api import Ask, EndpointState, RunningScorer, Scorer


class RoundRobin(Scorer, frozen=True):
    """Distance in id order from the endpoint that was sent the last request."""

    def start(self, rng: Rng) -> RunningScorer:
        """A turn of its own."""
        return _Turn()


class _Turn:
    def __init__(self) -> None:
        self._last = ""

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        order = sorted(endpoints, key=lambda state: (state.id <= self._last, state.id))
        rank = {state.id: float(place) for place, state in enumerate(order)}
        return [rank[state.id] for state in endpoints]

    def sent(self, ask: Ask, endpoint: EndpointState) -> None:
        self._last = endpoint.id
