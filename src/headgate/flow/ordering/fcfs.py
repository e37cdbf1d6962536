"""First come, first served."""

from headgate.flow.api import Ordering, Ticket


class Fcfs(Ordering, frozen=True):
    """The one that came first goes first; deadlines do not matter."""

    def rank(self, ticket: Ticket) -> float:
        """See `Ordering.rank`."""
        return 0.0
