"""Everything that can happen to a pool's machine. Each event is a plain value and can be recorded."""

import msgspec

from headgate.model.endpoints import Pool
from headgate.model.ids import EndpointId, StreamId
from headgate.model.load import Load, ModelCard
from headgate.model.requests import Ending, InferenceRequest, Usage


class PoolChanged(msgspec.Struct, frozen=True, tag=True):
    """The pool as it is now: endpoints, model rules, objectives. Whole, never a difference."""

    pool: Pool


class RequestArrived(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A request to be routed. Answered by exactly one of Route, Reject or ListModels, now or later."""

    stream: StreamId
    request: InferenceRequest


class ResponseStarted(msgspec.Struct, frozen=True, gc=False, tag=True):
    """Response headers came. A request may get here without passing FirstToken."""

    stream: StreamId
    status: int
    served: EndpointId | None = None
    """Who really served (Envoy's word); None when the data plane does not say."""
    local: bool = False
    """True when the data plane wrote the answer itself because no upstream answered."""
    plain: bool = False
    """True when the answer is no event stream, whatever was asked for: FirstToken will not be told."""


class FirstToken(msgspec.Struct, frozen=True, gc=False, tag=True):
    """The first bytes of a streamed answer's body came: its prefill is done."""

    stream: StreamId


class RequestEnded(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A routed request is over. Told exactly once for each routed stream; later ones are ignored.

    Before the request was routed it means that the client went away: nothing is answered then.
    """

    stream: StreamId
    ending: Ending
    status: int | None = None
    usage: Usage | None = None
    served: EndpointId | None = None
    details: str | None = None
    """As `Outcome.details`."""
    attempts: int | None = None
    """As `Outcome.attempts`."""


class Scraped(msgspec.Struct, frozen=True, tag=True):
    """A scrape of an endpoint's metrics ended; `load` is None when it failed, `error` says how."""

    endpoint: EndpointId
    load: Load | None
    error: str | None = None


class ModelsListed(msgspec.Struct, frozen=True, tag=True):
    """An endpoint was asked for `/v1/models`; `error` says why no list came, `models` is empty then."""

    endpoint: EndpointId
    models: tuple[ModelCard, ...]
    error: str | None = None


class PoolRemoved(msgspec.Struct, frozen=True, tag=True):
    """The pool is served no more. Every request in its hands is concluded as lost; no event follows."""


class Woken(msgspec.Struct, frozen=True, tag=True):
    """The time asked for by WakeAt has come."""


Event = (
    PoolChanged
    | RequestArrived
    | ResponseStarted
    | FirstToken
    | RequestEnded
    | Scraped
    | ModelsListed
    | PoolRemoved
    | Woken
)
