"""The one record of why a request went where it went; headers, `explain`, logs and replay print it."""

from typing import Literal

import msgspec

from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.model.requests import Outcome

SessionResult = Literal["new", "kept", "moved"]
"""It was not known; it went to the endpoint that it was sent to last; it went to another one."""


PriorResult = Literal["held", "down", "gone", "unknown"]
"""Of the endpoint that keeps the answer or conversation that a request goes on with: it serves; it is down;
it has left, or may not be chosen; nobody knows it, or it has started anew.

But for the first, anybody serves the request.
"""


class Term(msgspec.Struct, frozen=True, gc=False):
    """A named part of a candidate's cost."""

    name: str
    value: float


class Candidate(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """How one endpoint of the pool fared in one decision."""

    endpoint: EndpointId
    name: str = ""
    filtered_by: str | None = None
    """Name of the filter that refused it; None when it was scored."""
    filter_reason: str | None = None
    cost: float | None = None
    """Sum the picker compared, lower wins; None when filtered."""
    terms: tuple[Term, ...] = ()
    matched_tokens: int = 0
    """Estimated prompt tokens that the router believes are cached there."""
    in_flight: int = 0
    pending_tokens: int = 0
    pace: float = 1.0
    """How many times longer than at the fast endpoints of the pool work takes there, as its answers told."""
    metrics_age_s: float | None = None
    """Age of the newest scrape; None: never scraped."""


class Decision(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A choice, or a refusal, and everything it was made from."""

    request_id: RequestId
    pool: PoolKey
    policy: str
    at: float
    """The machine's clock (seconds) when it decided; comparable within one picker process only."""
    model: str | None = None
    target_model: str | None = None
    """Name put into the body, when it differs from `model`."""
    priority: int = 0
    objective: str | None = None
    prompt_tokens: int = 0
    """Estimate at decision time."""
    sharers: int = 0
    """Requests in flight behind the same cached prefix; they share the surcharge for a miss with this one."""
    waited_s: float = 0.0
    queued_behind: int | None = None
    """Requests of its own or a higher priority that waited when it came; None: it did not wait."""
    session: SessionResult | None = None
    """What became of the request's session; None: it names none."""
    prior: PriorResult | None = None
    """Whether the answer that it goes on with was found; None: it goes on with none."""
    chosen: tuple[EndpointId, ...] = ()
    """The pick, then the fallbacks in order; empty when refused."""
    runner_up: EndpointId | None = None
    candidates: tuple[Candidate, ...] = ()
    predicted_ttft_s: float | None = None
    refused: str | None = None
    """Reason of a refusal."""


class DecisionRecord(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """A decision and, once known, what happened."""

    decision: Decision
    wall_time: float
    """Unix seconds of the decision, stamped by the shell."""
    time: str = ""
    """The same as UTC in ISO 8601, `2026-01-31T12:00:00.000Z`."""
    ended: str | None = None
    """When it ended, likewise; None while it runs."""
    outcome: Outcome | None = None
    why: str = ""
    """What ended it, in plain words."""
