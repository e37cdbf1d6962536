"""What scrapes of one endpoint say beside the router's own accounting: load that is somebody else's."""

from headgate.model.load import Load
from headgate.scheduling.api import EndpointState


class Correction:
    """One endpoint's. While `load` of the state is None, all its `extra_…` are 0."""

    __slots__ = ("_state", "error")

    def __init__(self, state: EndpointState) -> None:
        self._state = state
        self.error: str | None = None
        #: Why the newest scrape failed; None: it did not, or there was none.

    def scraped(self, load: Load, now: float, peak: int, mean_own: float, mean_context: float) -> None:
        """A scrape succeeded; *peak*: the most requests of ours that were there since the last one.

        Requests reported beyond these are somebody else's: extra load of *mean_own* uncached tokens each
        while they wait, and of *mean_context* tokens of context.
        """
        self.error = None
        extra = max(0, load.waiting + load.running - peak)
        pending = round(min(extra, load.waiting) * mean_own)
        self._state.correct(load, now, extra, pending, round(extra * mean_context))

    def failed(self, error: str) -> None:
        """A scrape failed; what the last good one said stands until it is forgotten."""
        self.error = error

    def stale(self, now: float, stale_s: float) -> bool:
        """Whether the newest scrape is believed though it is older than *stale_s*."""
        state = self._state
        return state.scraped_at is not None and state.load is not None and now - state.scraped_at > stale_s

    def forget(self) -> None:
        """The newest scrape is too old to be believed."""
        self._state.correct(None, self._state.scraped_at, 0, 0, 0)

    def check(self) -> None:
        """Assert the invariants."""
        state = self._state
        extra = state.extra_requests, state.extra_pending_tokens, state.extra_context_tokens
        assert min(extra) >= 0, state.id
        assert state.load is not None or extra == (0, 0, 0), state.id
        assert state.load is None or state.scraped_at is not None, state.id
