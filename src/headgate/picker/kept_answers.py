"""Answers that servers keep for requests that go on with them: who keeps which, as answers have shown."""

from headgate.model.ids import EndpointId
from headgate.picker.bindings import Bindings
from headgate.picker.case import Case
from headgate.picker.events import RequestEnded
from headgate.picker.fleet import Fleet
from headgate.picker.tracked import Tracked
from headgate.picker.view import HeldView
from headgate.scheduling.api import DOWN
from headgate.scheduling.filters.subset_hint import addresses, is_among


class KeptAnswers:
    """The kept answers of one pool, by the digests of their ids."""

    def __init__(self, bindings: Bindings, fleet: Fleet) -> None:
        self._bindings = bindings
        self._fleet = fleet

    def __len__(self) -> int:
        return len(self._bindings)

    def view(self) -> HeldView:
        """How many are remembered."""
        return self._bindings.view()

    def keep(self, tracked: Tracked | None, prior: str, served: EndpointId | None, now: float) -> None:
        """The answer of *tracked* is kept: by *served* where that is said, else by the endpoint picked."""
        booked = None if tracked is None else tracked.booking.member
        home = served or (None if booked is None else booked.state.id)
        if tracked is not None and home is not None and home in self._fleet.members:
            self._bindings.put(prior, home, now)

    def ended(self, tracked: Tracked | None, event: RequestEnded, now: float) -> None:
        """Whoever could go on with an answer keeps it."""
        if tracked is None or tracked.prior is None:
            return
        status = event.status or tracked.status
        if status is not None and 200 <= status < 300:
            self.keep(tracked, tracked.prior, event.served, now)

    def forget_restarted(self) -> None:
        """Engines that have started anew keep nothing."""
        while self._fleet.restarted:
            self._bindings.forget(self._fleet.restarted.pop())

    def find(self, case: Case, prior: str) -> None:
        """Whether somebody keeps the answer that the request goes on with, who then serves it."""
        case.holder = None
        home = self._bindings.get(prior, case.now)
        if home is None:
            case.prior = "unknown"
            return
        member, subset = self._fleet.members.get(home), case.request.subset
        if member is None or (subset is not None and not is_among(member.state, addresses(subset))):
            case.prior = "gone"
        elif member.state.severity >= DOWN:
            case.prior = "down"
        else:
            case.prior, case.holder = "held", home
            self._bindings.put(prior, home, case.now)

    def check(self) -> None:
        """Assert the bounds."""
        self._bindings.check()
