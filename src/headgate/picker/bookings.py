"""What requests take of one endpoint."""

from headgate.model.ids import StreamId
from headgate.picker.concerns import Concerns
from headgate.picker.tracked import Booking
from headgate.scheduling.api import EndpointState


class Bookings:
    """One endpoint's. The counts of its state are their sums, whatever happens."""

    __slots__ = ("_concerns", "_state", "awaited", "held", "peak")

    def __init__(self, state: EndpointState, concerns: Concerns) -> None:
        self._state = state
        self._concerns = concerns
        self.held: dict[StreamId, Booking] = {}
        #: In the order booked; `in_flight` of the state is their number, `context_tokens` their sum, and
        #: `pending_tokens` the sum of `own_tokens` of those that are pending.
        self.awaited: dict[StreamId, Booking] = {}
        #: Those of `held` of which a first token or answer is still to come, in the order booked.
        self.peak = 0
        #: As many as ever were held at once since the newest scrape; at least as many as are.

    def add(self, booking: Booking) -> None:
        """The booking, whose tokens are set, is the endpoint's from now on."""
        booking.pending = True
        self.held[booking.stream] = booking
        if not booking.silent:
            self.awaited[booking.stream] = booking
            self._concerns.awaiting += 1
        state = self._state
        state.carry(1, booking.own_tokens, booking.context_tokens)
        if state.in_flight > self.peak:
            self.peak = state.in_flight

    def computed(self, booking: Booking) -> None:
        """Its prompt is computed, or believed to be."""
        if booking.pending:
            booking.pending = False
            self._state.carry(0, -booking.own_tokens, 0)

    def heard_of(self, booking: Booking) -> bool:
        """Nothing is awaited of it any more; True when something was."""
        if self.awaited.pop(booking.stream, None) is None:
            return False
        self._concerns.awaiting -= 1
        return True

    def remove(self, booking: Booking) -> None:
        """It is over, or turned out to be elsewhere."""
        self.heard_of(booking)
        del self.held[booking.stream]
        own_tokens = booking.own_tokens if booking.pending else 0
        booking.pending = False
        self._state.carry(-1, -own_tokens, -booking.context_tokens)

    def scraped(self) -> None:
        """Whoever comes from now on is not in the newest scrape."""
        self.peak = len(self.held)

    def oldest_awaited(self) -> Booking | None:
        """The one that has been waiting longest for its first sign."""
        return next(iter(self.awaited.values()), None)

    def check(self) -> None:
        """Assert the invariants."""
        state, held = self._state, self.held.values()
        assert state.in_flight == len(held), (state.id, state.in_flight, len(held))
        assert state.pending_tokens == sum(one.own_tokens for one in held if one.pending), state.id
        assert state.context_tokens == sum(one.context_tokens for one in held), state.id
        assert self.peak >= len(held), state.id
        assert list(self.awaited) == [stream for stream in self.held if stream in self.awaited], state.id
        assert all(self.held[stream] is one for stream, one in self.awaited.items()), state.id
        assert not any(one.silent for one in self.awaited.values()), state.id
