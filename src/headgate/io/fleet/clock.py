"""Virtual time over a monotonic clock: faster, slower, or frozen."""


class FleetClock:
    """Virtual seconds that run at a changeable rate. Wall times are `time.monotonic()`."""

    def __init__(self, rate: float, wall: float) -> None:
        self.rate = rate
        self._wall = wall
        self._virtual = 0.0

    def now(self, wall: float) -> float:
        """Virtual time at *wall*."""
        return self._virtual + (wall - self._wall) * self.rate

    def set_rate(self, rate: float, wall: float) -> None:
        """Virtual seconds per wall second from *wall* on; 0 freezes."""
        self._virtual, self._wall, self.rate = self.now(wall), wall, rate

    def wall_at(self, virtual: float) -> float | None:
        """When the wall clock shows *virtual*; None while frozen."""
        return self._wall + (virtual - self._virtual) / self.rate if self.rate else None
