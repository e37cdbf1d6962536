"""What flow control shows of itself: for status, metrics and dashboards."""

import msgspec


class FlowView(msgspec.Struct, frozen=True, kw_only=True):
    """One fairness id in one band now."""

    id: str
    band: int
    """The priority of its requests."""
    queued: int
    bytes: int = 0
    """Of the bodies of those that wait."""
    tokens: float
    """Used by the id since it was first seen, in all bands: expected ones of what runs, else real ones."""
    ahead: float = 0.0
    """Tokens that it got more than the flow served last, against their weights; below 0: it is behind."""
    weight: float = 1.0
    running: int = 0
    """Requests of the id that went and have not ended, in all bands."""
    quota_left: float | None = None
    """Tokens that it may use at once, below 0 when it used more than it had; None: no quota."""


class BandView(msgspec.Struct, frozen=True, kw_only=True):
    """All requests of one priority that wait."""

    band: int
    queued: int
    bytes: int
    oldest_s: float
    """How long the one that waits longest has waited."""
    most_requests: int = 0
    """So many may wait, of so many bytes."""
    most_bytes: int = 0


class EndedView(msgspec.Struct, frozen=True, kw_only=True):
    """Requests whose time here ended in one way, since the start."""

    outcome: str
    """See `tally.Outcome`."""
    band: int
    count: int


class WaitsView(msgspec.Struct, frozen=True, kw_only=True):
    """How long requests waited, since the start."""

    id: str
    """Fairness id; `other` for those beyond the first `tally.MOST_IDS`."""
    band: int
    outcome: str
    counts: tuple[int, ...]
    """Between `tally.BOUNDS`."""
    total_s: float


class QueueView(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that waits for one pool."""

    queued: int
    bytes: int
    drain_per_s: float | None
    """Requests a second that left the queue while others waited; None: none so far."""
    bands: tuple[BandView, ...]
    flows: tuple[FlowView, ...]
    dropped: dict[str, int]
    """Reason → requests dropped since the start."""
    ended: tuple[EndedView, ...] = ()
    waits: tuple[WaitsView, ...] = ()
    most_requests: int = 0
    """So many may wait, of so many bytes, of all bands together."""
    most_bytes: int = 0
    evicted: dict[int, int] = {}
    """Priority → running requests that were ended for more important ones, since the start."""
