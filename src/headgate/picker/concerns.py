"""What in a fleet needs looking at again, so that nobody looks at all endpoints to find that all is well."""

from headgate.scheduling.api import EndpointState


class Concerns:
    """One fleet's. Each set has one source: setters of states tell of queues and fills, `Health` whether it
    is plain, wherever they change it; who leaves or returns is the fleet's word. `Fleet.check` proves it.
    """

    __slots__ = ("awaiting", "full", "queueing", "unwell")

    def __init__(self) -> None:
        self.unwell: set[EndpointState] = set()
        #: Contains every member whose health is not plain, and perhaps some that have left.
        self.awaiting = 0
        #: The number of bookings without a first token or answer, at members and at those that leave.
        self.queueing: set[EndpointState] = set()
        #: Exactly the members whose newest scrape, as far as it is believed, showed a queue.
        self.full: set[EndpointState] = set()
        #: Contains exactly those members that are `full`, and perhaps some that have left.

    def plain(self, state: EndpointState, plain: bool) -> None:
        """Its health is plain, or nobody's business any more; or it is not."""
        (self.unwell.discard if plain else self.unwell.add)(state)

    def queues(self, state: EndpointState, queueing: bool) -> None:
        """Its engine reports a queue, or none."""
        (self.queueing.add if queueing else self.queueing.discard)(state)

    def fills(self, state: EndpointState, full: bool) -> None:
        """It has its fill, or room."""
        (self.full.add if full else self.full.discard)(state)

    def left(self, state: EndpointState) -> None:
        """It is no member any more."""
        self.unwell.discard(state)
        self.queueing.discard(state)
        self.full.discard(state)

    def returned(self, state: EndpointState, plain: bool) -> None:
        """It is a member again, *plain* in health or not."""
        self.plain(state, plain)
        load = state.load
        self.queues(state, load is not None and load.waiting > 0)
        self.fills(state, state.full)
