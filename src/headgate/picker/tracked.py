"""A request in the pool's hands."""

from typing import TYPE_CHECKING

import msgspec

from headgate.flow.queue import Ticket
from headgate.model.ids import StreamId

if TYPE_CHECKING:
    from headgate.picker.member import Member


class Tracked(msgspec.Struct, eq=False):
    """A routed request until its end."""

    stream: StreamId
    model: str | None
    arrived_at: float
    sent_at: float
    streaming: bool
    unseen: bool
    prompt_bytes: int
    blocks: bytes
    """Kept until the answer starts: another endpoint may turn out to serve them."""
    block_tokens: float
    """Estimated prompt tokens of a block."""
    prompt_tokens: int
    matched_tokens: int
    own_tokens: int
    context_tokens: int
    predicted_s: float
    """Predicted seconds to its first token."""
    answer_s: float
    """Predicted seconds from there to its first sign: the whole answer, when it is not streamed."""
    kind: int = 0
    """Stands for its path and model; see `Doubts`."""
    member: "Member | None" = None
    expected: bytes = b""
    """Those of `blocks` that the index expects at `member` until the prompt's fate is known."""
    pending: bool = False
    """Its prompt is not computed yet, as far as known."""
    since_scrape: bool = False
    """Still pending and sent after the endpoint's newest scrape."""
    first_at: float | None = None
    first_step_s: float = 0.0
    """Predicted seconds of a decode step when its first token came."""
    prefix: bytes = b""
    """The last block that the best-matching endpoint held of it at its decision; empty: nobody held any."""
    status: int | None = None
    trouble: str | None = None
    """As `Outcome.trouble`."""
    moved: bool = False
    """Another endpoint than the picked one serves it."""
    ticket: Ticket | None = None
    """Where flow control counts it."""
    judged: bool = False
    """Its success or failure has been told to the endpoint's health."""
