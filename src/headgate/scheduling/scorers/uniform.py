"""Anyone with equal chance."""

from collections.abc import Sequence

from headgate.model.randomness import Rng
from headgate.scheduling.api import Ask, EndpointState, RunningScorer, Scorer


class Uniform(Scorer, frozen=True):
    """A fresh die per endpoint and request."""

    def start(self, rng: Rng) -> RunningScorer:
        """Dice of the pool's own generator."""
        return _Dice(rng)


class _Dice:
    def __init__(self, rng: Rng) -> None:
        self._rng = rng

    def score(self, ask: Ask, endpoints: Sequence[EndpointState]) -> list[float]:
        return [self._rng.random() for _ in endpoints]

    def sent(self, ask: Ask, endpoint: EndpointState) -> None:
        """A die has no memory."""
