"""What in a fleet needs looking at again, so that nobody looks at all endpoints to find that all is well."""

from headgate.scheduling.api import EndpointState


class Concerns:
    """One fleet's. Kept by the parts of its members, each of which tells every change of what it knows."""

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

    def unsettled(self, state: EndpointState) -> None:
        """Its health is not plain."""
        self.unwell.add(state)

    def settled(self, state: EndpointState) -> None:
        """Its health is plain, or nobody's business any more."""
        self.unwell.discard(state)

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
        if not plain:
            self.unwell.add(state)
        load = state.load
        self.queues(state, load is not None and load.waiting > 0)
        self.fills(state, state.full)
