"""A request in the pool's hands, and what it takes of endpoints."""

from typing import TYPE_CHECKING, Literal

import msgspec

from headgate.flow.queue import Ticket
from headgate.model.ids import StreamId

if TYPE_CHECKING:
    from headgate.picker.member import Member

Role = Literal["whole", "prefill", "decode"]
"""What of a request an endpoint does: all of it; computing its prompt for another one; answering with a
prompt that another one computes. `prefill` is over at the first token."""


class Booking(msgspec.Struct, eq=False):
    """What one request takes of one endpoint. Everything an endpoint carries is the sum of its bookings."""

    stream: StreamId
    own_tokens: int
    """Prompt tokens to be computed there: those that are not cached."""
    context_tokens: int
    """Prompt and expected answer tokens that it holds there."""
    predicted_s: float
    """Predicted seconds to its first token."""
    answer_s: float = 0.0
    """Predicted seconds from there to its first sign: the whole answer, when it is not streamed."""
    role: Role = "whole"
    sent_at: float = 0.0
    member: "Member | None" = None
    """Where it is booked; None: nowhere (any more)."""
    expected: bytes = b""
    """Blocks of the prompt that the index expects at `member` until the prompt's fate is known."""
    silent: bool = False
    """No first token or answer will be told of it: nothing is awaited."""
    pending: bool = False
    """Its prompt is not computed yet, as far as known; only while it is booked."""
    since_scrape: bool = False
    """Still pending and sent after the endpoint's newest scrape."""
    trouble: str | None = None
    """What was held against the endpoint while the request waited there. As `Outcome.trouble`."""
    moved: bool = False
    """Another endpoint than the picked one has it: `trouble` says nothing any more."""


class Tracked(msgspec.Struct, eq=False):
    """A routed request until its end."""

    stream: StreamId
    model: str | None
    arrived_at: float
    streaming: bool
    unseen: bool
    prompt_bytes: int
    blocks: bytes
    """Kept until the answer starts: another endpoint may turn out to serve them."""
    block_tokens: float
    """Estimated prompt tokens of a block."""
    prompt_tokens: int
    matched_tokens: int
    booking: Booking
    """At the endpoint that answers."""
    stages: tuple[Booking, ...] = ()
    """At other endpoints that have a part in it, until that part is over."""
    kind: int = 0
    """Stands for its path and model; see `Doubts`."""
    first_at: float | None = None
    first_step_s: float = 0.0
    """Predicted seconds of a decode step when its first token came."""
    prefix: bytes = b""
    """The last block that the best-matching endpoint held of it at its decision; empty: nobody held any."""
    status: int | None = None
    ticket: Ticket | None = None
    """Where flow control counts it."""
    prior: str | None = None
    """As `InferenceRequest.prior`."""
    judged: bool = False
    """Its success or failure has been told to the endpoint's health."""
