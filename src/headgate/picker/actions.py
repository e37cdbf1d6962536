"""Everything a pool's machine can ask its shell to do."""

from typing import Literal

import msgspec

from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, RequestId, StreamId
from headgate.model.load import ModelCard
from headgate.model.requests import Outcome
from headgate.picker.choice import Choice

Reason = Literal[
    "saturated",  # 429: capacity exists but is contended
    "over-quota",  # 429: its fairness id has used up its tokens
    "queue-full",  # 429: as many wait here as may
    "displaced",  # 429: it waited, and a more important request needed its place
    "evicted",  # 429: it ran, and a more important request needed its place
    "ttl-expired",  # 429: it waited as long as a request may
    "deadline",  # 429: its first token can no longer come by its deadline
    "no-endpoints",  # 503: the pool has no endpoint, or none is allowed by the subset hint
    "unknown-model",  # 404: no InferenceModel has this name, or no endpoint lists it
    "no-target-model",  # 503: every target of the InferenceModel has weight 0
    "bad-request",  # 400: the body is not what the path needs (said by the wire), or names no model
    "unknown-pool",  # 503: the request names a pool that is not served here (said by the wire)
    "too-large",  # 413 (said by the data plane or the wire)
]


class Route(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Send the request to the first of `endpoints` that answers."""

    stream: StreamId
    endpoints: tuple[EndpointId, ...]
    """Ordered, never empty."""
    target_model: str | None
    """Put this name into the body's `model`; None: leave the body alone."""
    decision: Choice
    headers: tuple[tuple[str, str], ...] = ()
    """Request headers for the server that answers, such as where another stage of the request ran. Names in
    small letters; in place of the client's."""
    stays: bool = False
    """`Evict` may follow: the stream is kept until the answer begins."""


class Reject(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Answer the client with an error now."""

    stream: StreamId
    status: int
    reason: Reason
    message: str
    retry_after_s: int | None
    decision: Decision


class Evict(msgspec.Struct, frozen=True, gc=False, tag=True):
    """End a routed request with 429, unless its answer has begun: then nothing is done.

    That it was done, `RequestEnded` tells.
    """

    stream: StreamId
    request_id: RequestId
    message: str
    retry_after_s: int


class ListModels(msgspec.Struct, frozen=True, tag=True):
    """Answer `GET /v1/models` with these, ordered by id."""

    stream: StreamId
    models: tuple[ModelCard, ...]


class Conclude(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A routed request's outcome is known: attach it to its decision record."""

    stream: StreamId
    outcome: Outcome


class Relist(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Ask the pool's endpoints for their model lists soon: a name was refused that none lists so far."""


class WakeAt(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Send `Woken` at this time (machine clock, seconds); replaces an earlier, later wish."""

    at: float


Action = Route | Reject | Evict | ListModels | Conclude | Relist | WakeAt
