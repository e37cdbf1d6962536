"""How slow an endpoint is, learned from the pace of its finished answers: how its later tokens came.

Time to first token would tell of queues; the time per later token, over the step time predicted for it,
hardly depends on them. Source of rule and constants: a study in simulation of fleets half of which is 2 or 4
times slower.
"""

from collections.abc import Collection
from math import exp, log

FEWEST_TOKENS = 16
"""Shorter answers teach nothing: networks and other people's prefills outweigh their tokens."""
BOUND = 8.0
"""One answer is believed to be so many times slower or faster than predicted, at most."""
GAIN = 0.02
"""Least weight of an answer in the mean; the first ones weigh 1/n."""
FEWEST_ANSWERS = 5
"""Until so many answers were seen an endpoint counts as a fast one."""
TOLERANCE = log(1.25)
"""Differences up to this are noise; larger ones count by what they exceed it."""
GRAIN = 0.02
"""Paces are compared in steps of so much (2 %): most answers then change no endpoint's cost."""
KEPT_S = 300.0
"""An endpoint without an answer for so long, while others have some, is tried as if it were new."""


class Pace:
    """One endpoint's."""

    __slots__ = ("answers", "heard_at", "log")

    def __init__(self) -> None:
        self.log = 0.0
        """Running mean of the logarithm of measured over predicted time per token."""
        self.answers = 0
        self.heard_at = 0.0
        """When the newest of them ended."""

    def learn(self, token_s: float, predicted_s: float, now: float) -> None:
        """An answer's later tokens took *token_s* each where *predicted_s* (above 0) was expected."""
        ratio = max(1.0 / BOUND, min(BOUND, token_s / predicted_s))
        self.answers += 1
        self.heard_at = now
        self.log += max(GAIN, 1.0 / self.answers) * (log(ratio) - self.log)

    def relative(self, fast: float) -> float:
        """How many times slower than a fleet whose fast endpoints have the logarithm *fast*; 1: as fast."""
        if self.answers < FEWEST_ANSWERS:
            return 1.0
        apart = self.log - fast
        beyond = max(0.0, abs(apart) - TOLERANCE)
        if beyond == 0.0:
            return 1.0
        steps = round(beyond / GRAIN)
        return exp(steps * GRAIN if apart > 0 else -steps * GRAIN)


def fast_fifth(paces: Collection[Pace]) -> float:
    """The 20th percentile of the logarithms of those that had answers; 0 where none had any."""
    heard = sorted([pace.log for pace in paces if pace.answers])
    return heard[(len(heard) - 1) // 5] if heard else 0.0
