"""How many requests are believed to queue in one engine between two scrapes."""

from collections.abc import Iterable

from headgate.model.load import Load
from headgate.picker.settings import AdmissionSettings
from headgate.picker.tracked import Booking

MOST_GUESSED = 2.0
"""Times the limit: as many waiting requests are believed at most where the engine reports none."""


class QueueGuess:
    """One engine's."""

    __slots__ = ("_has_queued", "_most_running", "requests", "tokens")

    def __init__(self) -> None:
        self.requests = 0
        #: The number of bookings that are `since_scrape`: pending, and sent since the newest scrape.
        self.tokens = 0
        #: The sum of their `own_tokens`.
        self._most_running = 0
        #: Sequences that the engine was ever seen to run at once, at most.
        self._has_queued = False
        #: The engine reported a queue once: what it ran at most is what it has room for.

    def sent(self, booking: Booking) -> None:
        """It was booked."""
        booking.since_scrape = True
        self.requests += 1
        self.tokens += booking.own_tokens

    def computed(self, booking: Booking) -> None:
        """Its prompt is computed, or it is gone."""
        if booking.since_scrape:
            booking.since_scrape = False
            self.requests -= 1
            self.tokens -= booking.own_tokens

    def scraped(self, load: Load, held: Iterable[Booking]) -> None:
        """A scrape saw all that is *held* there."""
        self._most_running = max(self._most_running, load.running)
        self._has_queued = self._has_queued or load.waiting > 0
        for booking in held:
            booking.since_scrape = False
        self.requests = self.tokens = 0

    def waiting(self, load: Load | None, in_flight: int, settings: AdmissionSettings) -> float:
        """Requests believed to queue: scraped, plus what was sent since and finds no room.

        Where the engine reported a queue, whoever came since stands in it too. Otherwise those count who pass
        the most it was ever seen to run at once, or the prompt tokens of one step; being a guess, that stays
        within twice the limit, too little to refuse anyone but requests of negative priority.
        """
        if load is not None and load.waiting:
            return float(load.waiting + self.requests)
        guess = 0.0
        if self._has_queued:
            running = load.running if load is not None else in_flight - self.requests
            guess = float(running + self.requests - max(self._most_running, running))
        if self.tokens > settings.step_tokens:
            guess = max(guess, self.requests * (1.0 - settings.step_tokens / self.tokens))
        return min(max(0.0, guess), MOST_GUESSED * settings.waiting_limit)

    def check(self, held: Iterable[Booking]) -> None:
        """Assert the invariants."""
        since = [booking for booking in held if booking.since_scrape]
        assert all(booking.pending for booking in since)
        assert self.requests == len(since)
        assert self.tokens == sum(booking.own_tokens for booking in since)
