"""How fast a queue empties."""

from math import exp

MEMORY_S = 30.0
"""Time constant of the mean: what was longer ago hardly counts."""
FIRST_GUESS_S = 5.0
"""A wait that is told before anything has gone."""


class DrainRate:
    """Requests a second that went while others waited; time without anybody waiting does not count."""

    __slots__ = ("_at", "_busy_s", "_gone")

    def __init__(self) -> None:
        self._at = 0.0
        self._gone = 0.0
        self._busy_s = 0.0
        """Both fade, so that their ratio is a mean of the recent past."""

    def pass_time(self, now: float, busy: bool) -> None:
        """Until *now* somebody waited, or nobody did; to be told whenever that changes, and before `went`."""
        if busy and now > self._at:
            elapsed = now - self._at
            fade = exp(-elapsed / MEMORY_S)
            self._gone *= fade
            self._busy_s = self._busy_s * fade + MEMORY_S * (1.0 - fade)
        self._at = now

    def went(self) -> None:
        """One that waited goes."""
        self._gone += 1.0

    def per_second(self) -> float | None:
        """None: nobody knows yet."""
        return self._gone / self._busy_s if self._gone > 0.5 and self._busy_s > 0.0 else None

    def wait_s(self, ahead: int) -> float:
        """Expected time until *ahead* requests have gone."""
        rate = self.per_second()
        return FIRST_GUESS_S if rate is None else ahead / rate
