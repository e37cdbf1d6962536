"""Whether one endpoint shows signs of life: answers, and its engine's count of tokens."""

from math import inf

from headgate.picker.bookings import Bookings
from headgate.picker.health import Health
from headgate.picker.settings import HealthSettings
from headgate.picker.tracked import Booking
from headgate.scheduling.api import EndpointState

LATER, SOONER = 0.5, 0.05
"""Weights of a suspicion that proved wrong, and of an answer in time, in an endpoint's lateness."""

UNCOUNTED_S = 1.0
"""A token that the progress counter does not show for so long will never be shown."""


class Liveness:
    """One endpoint's. It tells `health` of every sign of life."""

    __slots__ = (
        "_bookings",
        "_counted",
        "_health",
        "_lull_s",
        "_miscounts",
        "_progress",
        "_progress_from",
        "_settings",
        "_started",
        "_state",
        "_uncounted_from",
        "last_sign",
        "lateness",
    )

    def __init__(
        self, state: EndpointState, health: Health, bookings: Bookings, settings: HealthSettings
    ) -> None:
        self._state = state
        self._health = health
        self._bookings = bookings
        self._settings = settings
        self.last_sign = float("-inf")
        #: When the newest answer or token came from there; never goes back.
        self.lateness = 1.0
        #: How many times longer than predicted its answers take, at least 1: wrong constants are no hang.
        self._progress: float | None = None
        #: The progress counter of the newest scrape; None: it had none.
        self._counted: float | None = None
        #: The progress counter when it was last told.
        self._progress_from = 0.0
        #: When it was first seen as it is now.
        self._started: float | None = None
        #: When its process began, as far as it tells; infinity: that went back, so several answer by turns.
        self._uncounted_from: float | None = None
        #: When the first token came that the progress counter does not show; None: it shows all.
        self._miscounts = False
        #: The progress counter is no sign of life: tokens come while it stands still.
        self._lull_s = 0.0
        #: Longest standstill of the progress counter that ended by itself.

    def sign(self, now: float) -> None:
        """The endpoint showed life."""
        self._excuse(now)
        self.last_sign = now
        self._health.alive(now)

    def produced(self, booking: Booking, now: float) -> None:
        """A token came: a counter that does not move for it counts something else."""
        if self._progress_from < booking.sent_at and self._uncounted_from is None:
            self._uncounted_from = now

    def answered(self, booking: Booking, now: float) -> None:
        """The first sign of a request came. Short ones teach nothing: networks outweigh engines there."""
        if self.lateness > 1.0 and booking.predicted_s + booking.answer_s > self._settings.patience_s:
            self.lateness += SOONER * min(0.0, self._ratio(booking, now) - self.lateness)

    def scraped(self, progress: float | None, started: float | None, now: float) -> bool:
        """A scrape succeeded; True when the engine restarted: its progress went backwards, or its process
        began after the one before.
        """
        again = self._began_again(started)
        return self._moved(progress, now) or again

    def _began_again(self, started: float | None) -> bool:
        before = self._started
        if started is None or before in (started, inf):
            return False
        self._started = started if before is None or started > before else inf
        return before is not None and self._started != inf

    def _moved(self, progress: float | None, now: float) -> bool:
        """Take in the progress counter; True when it went backwards."""
        before, self._progress = self._progress, progress
        counted, self._counted = self._counted, self._counted if progress is None else progress
        if progress == before:
            if self._uncounted_from is not None and now - self._uncounted_from > UNCOUNTED_S:
                self._miscounts = True
            return False
        if before is not None and self._bookings.held and not self._bookings.awaited:
            self._lull_s = max(self._lull_s, min(now - self._progress_from, now - self.last_sign))
        self._progress_from = now
        self._uncounted_from, self._miscounts = None, False
        if counted is not None and progress is not None and progress < counted:
            return True
        if before is None or progress is None:
            return False
        self._excuse(now)
        self._health.alive(now)
        return False

    def late(self, now: float) -> bool:
        """Whether a request there has no first sign yet though it was predicted by now."""
        oldest = self._bookings.oldest_awaited()
        return oldest is not None and now - oldest.sent_at > self.lateness * oldest.predicted_s

    def overdue(self, now: float, blind: bool) -> str | None:
        """Why the endpoint seems to hang; None while it does not. *blind*: the newest scrape failed."""
        settings = self._settings
        oldest = self._bookings.oldest_awaited()
        if oldest is None:
            return self._stalled(now)
        waited = now - oldest.sent_at
        scraped_at = self._state.scraped_at
        if self._counts() and scraped_at is not None:
            quiet = now - max(self.last_sign, oldest.sent_at, self._progress_from)
            watched = scraped_at - max(oldest.sent_at, self._progress_from)
            late = (
                waited > max(settings.patience_s, 1.5 * self.lateness * oldest.predicted_s)
                and quiet > settings.quiet_s
            )
            if late and (blind or watched > settings.quiet_s / 2):
                return f"no sign of life for {quiet:.1f} s"
            return None
        quiet = now - max(self.last_sign, oldest.sent_at)
        predicted = self.lateness * (oldest.predicted_s + oldest.answer_s)
        bound = settings.blind_factor * predicted + settings.blind_patience_s
        return f"no answer for {quiet:.1f} s" if waited > bound and quiet > bound else None

    def check(self) -> None:
        """Assert the invariants."""
        assert self.lateness >= 1.0, self._state.id
        assert self._progress is None or self._progress == self._counted, self._state.id

    def _counts(self) -> bool:
        """Whether the newest scrape is fresh and its progress counter means something."""
        return self._progress is not None and self._state.load is not None and not self._miscounts

    def _stalled(self, now: float) -> str | None:
        """All answers here have begun, sequences run, and no token is counted: a hang in the middle."""
        held, load, scraped_at = self._bookings.held, self._state.load, self._state.scraped_at
        if not held or load is None or not load.running or scraped_at is None or not self._counts():
            return None
        newest = next(reversed(held.values())).sent_at
        quiet = scraped_at - max(self.last_sign, self._progress_from, newest)
        bound = max(self._settings.stall_s, 2 * self._lull_s)
        return f"no token for {quiet:.1f} s" if quiet > bound else None

    def _excuse(self, now: float) -> None:
        """A sign of life: if the endpoint was suspected for a request's wait, it is slower than predicted."""
        if self._health.condition == "suspect" and (oldest := self._bookings.oldest_awaited()) is not None:
            self.lateness += LATER * max(0.0, self._ratio(oldest, now) - self.lateness)

    def _ratio(self, booking: Booking, now: float) -> float:
        predicted = booking.predicted_s + booking.answer_s
        waited = now - booking.sent_at
        if predicted <= 0 or waited <= predicted:
            return 1.0
        return min(self._settings.latest, waited / predicted)
