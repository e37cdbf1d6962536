"""What ext_proc streams and access logs say of requests: events of a pool's machine, free of protocol."""

import msgspec

from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import Ending, InferenceRequest, Usage


class RequestArrived(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A request to be routed; its body, as far as there is one, is complete.

    Answered by exactly one Route, Reject or ListModels, now or later.
    """

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
    """The first token of a streamed answer came: its prefill is done."""

    stream: StreamId


class AnswerStored(msgspec.Struct, frozen=True, gc=False, tag=True):
    """A server keeps its answer, for requests that go on with it."""

    stream: StreamId
    prior: str
    """Digest of its id, as `InferenceRequest.prior`."""
    served: EndpointId | None = None


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


Said = RequestArrived | ResponseStarted | FirstToken | AnswerStored | RequestEnded
