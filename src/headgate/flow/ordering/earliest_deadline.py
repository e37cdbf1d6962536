"""The most urgent first; what would come too late is not served at all."""

from headgate.flow.api import Ordering, Ticket
from headgate.flow.queue import NEVER


class EarliestDeadline(Ordering, frozen=True):
    """The earliest deadline goes first, those without one last; those that cannot be met are dropped."""

    def rank(self, ticket: Ticket) -> float:
        """See `Ordering.rank`."""
        return NEVER if ticket.deadline is None else ticket.deadline

    def latest(self, ticket: Ticket) -> float:
        """See `Ordering.latest`."""
        return NEVER if ticket.deadline is None else ticket.deadline
