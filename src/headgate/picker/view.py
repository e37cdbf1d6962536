"""What a pool's machine shows of itself: for status, metrics and dashboards."""

import msgspec

from headgate.flow.view import QueueView
from headgate.model.ids import EndpointId, PoolKey
from headgate.model.load import Load
from headgate.picker.health import Condition


class EndpointView(msgspec.Struct, frozen=True, kw_only=True):
    """One endpoint now. Times in seconds, tokens as estimated by the router."""

    endpoint: EndpointId
    name: str
    condition: Condition
    reason: str
    """Why the condition is not `up`; `cooling down after 429` while up."""
    leaving: bool
    """Removed from the pool; its running requests are still counted."""
    in_flight: int
    pending_tokens: int
    context_tokens: int
    extra_requests: int
    """Requests the engine reports beyond ours."""
    load: Load | None
    """None: never scraped, or too long ago."""
    scrape_age_s: float | None
    scrape_error: str | None
    """Of the newest scrape, when it failed."""
    models_error: str | None
    """Why its newest model list did not come."""
    prefix_blocks: int
    prefix_fill: float
    """0..1."""
    ramp: float
    """Share of a full load it may take, 0..1; below 1 during a slow start."""
    models: tuple[str, ...]
    pace: float = 1.0
    """How many times longer than at the fast ones of the pool work takes there, as its answers told."""


class HeldView(msgspec.Struct, frozen=True):
    """A map that is bounded by number."""

    size: int
    most: int


class PoolView(msgspec.Struct, frozen=True, kw_only=True):
    """A pool now."""

    pool: PoolKey
    policy: str
    endpoints: tuple[EndpointView, ...]
    saturation: float
    """Of the least loaded healthy endpoint; from 1 on every one has its fill."""
    in_flight: int
    decided: int
    """Requests routed since the start."""
    refused: int
    """Requests rejected since the start, for whatever reason."""
    prompt_tokens: int
    """Of all routed requests, estimated."""
    matched_tokens: int
    """Of those, tokens believed cached at the chosen endpoint."""
    hit_rate: float
    """`matched_tokens / prompt_tokens` over the recent past, 0..1."""
    reported_hit_rate: float | None
    """The same from engines' own usage numbers; None while no engine tells."""
    sessions: HeldView
    """Sessions whose endpoint is remembered."""
    kept_answers: HeldView
    """Answers whose keeper is remembered."""
    queue: QueueView | None = None
    """What waits here; None: nothing ever does."""
