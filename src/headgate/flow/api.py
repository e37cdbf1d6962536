"""What waits, and what a flow-control plugin is given and answers.

A plugin is a frozen struct that is also its own configuration. What it remembers is kept by its running part:
`start` gives one to every band. Plugins live one per file in `fairness/` and `ordering/`.
"""

from typing import Literal, Protocol

import msgspec

from headgate.flow.queue import NEVER, Flow, Ticket
from headgate.registry import plugin_type

__all__ = ["DropReason", "Dropped", "Fairness", "Flow", "Ordering", "RunningFairness", "Ticket"]

DropReason = Literal[
    "over-quota",  # its flow has used up its tokens
    "queue-full",  # as many wait as may, and it is not more important than those
    "displaced",  # it waited, and a more important one needed its place
    "ttl-expired",  # it waited as long as a request may
    "no-endpoints",  # it waited for somebody to be there as long as it may
    "deadline",  # its first token can no longer come in time
    "stopped",  # nobody will serve the queue any more
]


class Dropped(msgspec.Struct, frozen=True, gc=False):
    """A request that will not go."""

    ticket: Ticket
    reason: DropReason
    message: str
    retry_after_s: int | None
    """When it is worth another try, in seconds from now; None: nobody knows."""


class RunningFairness(Protocol):
    """The order of the flows of one band: who is next.

    It holds every flow with something waiting; it may hold empty ones, and skips them.
    """

    def add(self, flow: Flow) -> None:
        """The flow has something waiting, and is not among them."""
        ...

    def take(self) -> Flow | None:
        """Takes out the flow that is next; None when nobody has anything waiting."""
        ...

    def put_back(self, flow: Flow) -> None:
        """The flow taken out could not be served: its place is the one it had."""
        ...

    def served(self, flow: Flow, tokens: float) -> None:
        """A request of the flow taken out goes, and counts for so many tokens; if more wait, it is added."""
        ...

    def corrected(self, flow: Flow, tokens: float) -> None:
        """Earlier requests of the flow counted for so many tokens too few (below 0: too many)."""
        ...

    def owes(self, flow: Flow) -> bool:
        """Whether the flow, with nothing waiting, would be treated otherwise than one never seen before."""
        ...

    def ahead(self, flow: Flow) -> float:
        """Tokens that the flow got more than the one served last, by their weights; 0: it does not say."""
        ...


class Fairness(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=plugin_type, tag_field="type"
):
    """How the flows of a band share."""

    def start(self) -> RunningFairness:
        """The running part for one band."""
        raise NotImplementedError


class Ordering(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag=plugin_type, tag_field="type"
):
    """In which order the requests of one flow go."""

    def rank(self, ticket: Ticket) -> float:
        """The lowest goes first, of equals the one that came first; it never changes."""
        raise NotImplementedError

    def latest(self, ticket: Ticket) -> float:
        """The time from which its first token would be too late to be of use; infinity: never."""
        return NEVER
