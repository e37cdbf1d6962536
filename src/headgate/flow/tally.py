"""How waiting ended, counted for the metrics of flow control."""

from bisect import bisect_left
from typing import Literal, get_args

from headgate.flow.api import DropReason

Outcome = Literal[
    "Dispatched",
    "RejectedCapacity",
    "RejectedNoEndpoints",
    "RejectedOther",
    "EvictedTTL",
    "EvictedNoEndpoints",
    "EvictedContextCancelled",
    "EvictedOther",
]
"""How a request's time in flow control ended, in the words of the Inference Extension."""

OUTCOMES: dict[DropReason, Outcome] = {
    "over-quota": "RejectedOther",
    "queue-full": "RejectedCapacity",
    "displaced": "EvictedOther",
    "ttl-expired": "EvictedTTL",
    "no-endpoints": "EvictedNoEndpoints",
    "deadline": "EvictedOther",
    "stopped": "EvictedOther",
}

BOUNDS = (0.005, 0.025, 0.1, 0.2, 0.4, 0.8, 1.5, 3, 6, 10, 20, 45, 120, 300)
"""Seconds in the queue."""
MOST_IDS = 100
"""Fairness ids with counts of their own."""
OTHER = "other"


class Waits:
    """The waits of one fairness id and priority that ended in one way."""

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Between `BOUNDS`."""
        self.total_s = 0.0


Key = tuple[str, int, Outcome]
"""Fairness id (`OTHER` beyond the first `MOST_IDS`), priority, outcome."""


class Tally:
    """Counts since the start. Requests that went without waiting are in `ended` alone."""

    __slots__ = ("_ids", "ended", "waits")

    def __init__(self) -> None:
        self.ended: dict[Outcome, dict[int, int]] = {outcome: {} for outcome in get_args(Outcome)}
        """By outcome and priority."""
        self.waits: dict[Key, Waits] = {}
        self._ids: set[str] = set()

    def over(self, outcome: Outcome, priority: int) -> None:
        """A request's time here ended."""
        of_outcome = self.ended[outcome]
        of_outcome[priority] = of_outcome.get(priority, 0) + 1

    def waited(self, who: str, priority: int, outcome: Outcome, seconds: float) -> None:
        """The same for one that was in the queue."""
        self.over(outcome, priority)
        if who not in self._ids:
            if len(self._ids) >= MOST_IDS:
                who = OTHER
            else:
                self._ids.add(who)
        key = who, priority, outcome
        found = self.waits.get(key)
        if found is None:
            found = self.waits[key] = Waits()
        found.counts[bisect_left(BOUNDS, seconds)] += 1
        found.total_s += seconds
