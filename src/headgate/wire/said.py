"""What an ext_proc stream or an access-log entry says, free of protocol; the shell turns it into events."""

import msgspec

from headgate.model.ids import EndpointId
from headgate.model.requests import Ending, InferenceRequest, Usage


class Arrived(msgspec.Struct, frozen=True):
    """A request whose body, as far as there is one, is complete."""

    request: InferenceRequest


class Started(msgspec.Struct, frozen=True):
    """Response headers came."""

    status: int
    served: EndpointId | None = None
    local: bool = False
    """The data plane wrote the answer itself."""
    plain: bool = False
    """No event stream: `FirstBytes` will not be said."""


class FirstBytes(msgspec.Struct, frozen=True):
    """The first body bytes of an event stream came."""


class Over(msgspec.Struct, frozen=True):
    """The request ended; said at most once by a stream."""

    ending: Ending
    status: int | None = None
    usage: Usage | None = None
    served: EndpointId | None = None
    details: str | None = None
    """As `Outcome.details`."""
    attempts: int | None = None
    """As `Outcome.attempts`."""


Said = Arrived | Started | FirstBytes | Over
