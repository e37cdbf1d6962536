"""The requests that wait in the picker because every endpoint that may serve them has its fill."""

from collections.abc import Callable, Hashable, Sequence
from math import inf

from msgspec.structs import replace

from headgate.flow.api import Dropped
from headgate.flow.control import FlowControl
from headgate.flow.queue import Ticket
from headgate.flow.settings import FlowSettings
from headgate.flow.view import QueueView
from headgate.model.flow_rules import FlowRules
from headgate.model.ids import StreamId
from headgate.model.requests import Usage
from headgate.picker.actions import Evict
from headgate.picker.case import Case
from headgate.picker.evicting import Evicting, at
from headgate.picker.fleet import Fleet
from headgate.picker.member import Member
from headgate.picker.policy import with_rules
from headgate.picker.tracked import Tracked
from headgate.scheduling.api import DOWN, SUSPECT
from headgate.scheduling.filters.subset_hint import addresses, is_among

NOBODY = "-"
"""Fairness id of requests that tell neither one nor a model."""


class Waiting:
    """Flow control over the members of a fleet."""

    def __init__(
        self, settings: FlowSettings, fleet: Fleet, prefill_token_s: float = 0.0, hold_empty_s: float = 0.0
    ) -> None:
        """*hold_empty_s*: see there; a FlowPolicy may say otherwise."""
        self.control = FlowControl(settings)
        self.hold_empty_s = hold_empty_s
        """So long a request waits while no endpoint that may serve it is there; 0: it does not."""
        self._usual_hold_s = hold_empty_s
        self._settings = settings
        self._fleet = fleet
        self._tickets: dict[StreamId, Ticket] = {}
        """Of the requests that wait."""
        self._collected = fleet.collected
        self._now = 0.0
        """Of the last question."""
        self._vacancy: object = None
        """By what `_look` last decided whom nobody is there to serve; None: it has to look again."""
        self.evicting = Evicting(prefill_token_s)
        self._evicts = evicts(settings)
        """Some band does: then nobody waits in an engine, since a seat may be made anywhere."""

    def __len__(self) -> int:
        return self.control.waiting

    def holds(self, stream: StreamId) -> bool:
        """Whether the stream's request waits."""
        return stream in self._tickets

    @property
    def stirs(self) -> bool:
        """Whether somebody waits, or was dropped and does not know it."""
        control = self.control
        return control.waiting > 0 or control.drops > 0

    def configure(self, rules: FlowRules | None, now: float) -> None:
        """The pool's FlowPolicy is another one; None: there is none."""
        said = None if rules is None else rules.hold_empty_s
        self.hold_empty_s = self._usual_hold_s if said is None else said
        self.control.configure(with_rules(self._settings, rules), now)
        self._evicts = evicts(self.control.settings)
        self.control.regroup(self._regrouped)
        self._vacancy = None

    def arrive(self, case: Case, tokens: int) -> bool:
        """Whether the request, which is expected to use so many tokens, goes at once."""
        request = case.request
        now = self._now = case.now
        slo_ms = request.slo_ttft_ms
        deadline = None if slo_ms is None else now + slo_ms / 1000
        case.ceiling = self._ceiling(case.priority or 0)
        kind = self._kind(case)
        ticket = Ticket(case.stream, case.priority or 0, tokens, request.body_bytes, kind, None, deadline)
        case.ticket = ticket
        holds = self.hold_empty_s > 0
        if self._vacant(kind):
            ticket.bound = True
            ticket.expires_at = now + self.hold_empty_s
        room = self._room(kind) if holds else self._takes(kind)
        if self.control.arrive(ticket, case.who or NOBODY, now, room=room):
            return True
        ticket.cargo = case
        if ticket.waiting:
            self._tickets[case.stream] = ticket
        return False

    def room(self, case: Case) -> bool:
        """Whether an endpoint could take the request now, were it alive."""
        case.ceiling = self._ceiling(case.priority or 0)
        return self._takes(self._kind(case))

    def forget(self, stream: StreamId, now: float) -> bool:
        """The client went away; whether its request waited."""
        ticket = self._tickets.pop(stream, None)
        if ticket is None:
            return False
        self.control.forget(ticket, now)
        return True

    def next(self, now: float, soonest_s: float) -> Case | None:
        """Whose turn it is; to be asked again, once the request was placed, until it is nobody's."""
        if not self.control.waiting:
            return None
        if self._collected != self._fleet.collected:
            self._collected = self._fleet.collected
            self.control.regroup(self._regrouped)
        self._now = now
        self._look()
        ticket = self.control.next(now, self._room, soonest_s)
        return None if ticket is None else self._taken(ticket)

    def dropped(self) -> Sequence[tuple[Case, Dropped]]:
        """Who will not go."""
        return [(self._taken(each.ticket), each) for each in self.control.dropped()]

    def refused(self, case: Case, now: float) -> None:
        """The request went, and could not be placed."""
        if case.ticket is not None:
            self.control.ended(case.ticket, 0.0, now)

    def ended(self, ticket: Ticket, usage: Usage | None, failed: bool, now: float) -> None:
        """A request that was placed is over."""
        tokens: float | None = None
        if usage is not None:
            tokens = float(usage.prompt_tokens + usage.completion_tokens)
        elif failed:
            tokens = 0.0
        self.control.ended(ticket, tokens, now)

    def may_end(self, case: Case) -> bool:
        """Whether the request may be ended while it runs."""
        return self._evicts and self.control.band(case.priority or 0).evict and self.evicting.may_end(case)

    def placed(self, case: Case, tracked: Tracked, stays: bool) -> None:
        """The request was sent to an endpoint. If others have all its seats, one of them may have to go."""
        evicting, member = self.evicting, tracked.booking.member
        if stays:
            evicting.routed(case, tracked)
        elif evicting.running and member is not None:
            state = member.state
            excess = state.in_flight + state.extra_requests - state.seats
            if excess > evicting.under_way(member):
                self._evict(case.priority or 0, at(state.id), case.now)

    def evict(self, now: float) -> list[Evict]:
        """Whom to end for those that wait, one for each of them at most, and for those that were placed."""
        control, evicting = self.control, self.evicting
        while evicting.running and (ticket := control.foremost()) is not None:
            if len(evicting.asked) >= control.ahead_of(ticket.priority):
                break
            if not self._evict(ticket.priority, self._fitting(ticket.kind), now):
                break
        wanted, evicting.wanted = evicting.wanted, []
        return wanted

    def _evict(self, priority: int, fits: Callable[[Member], bool], now: float) -> bool:
        retry_after_s = self.control.retry_after_s()
        return self.evicting.want(priority, fits, retry_after_s, now) is not None

    def stop(self, now: float) -> None:
        """Nobody will serve those that wait; they are told by whoever removes the pool."""
        self.control.stop(now)
        self.dropped()

    def view(self, now: float) -> QueueView:
        """Everything that waits at *now*, and what was ended; changes nothing."""
        return replace(self.control.view(now), evicted=dict(sorted(self.evicting.counts.items())))

    def check(self) -> None:
        """Assert that those that wait are those that flow control has, and that nobody waits in vain."""
        self.control.check()
        waiting = self.control.tickets()
        assert {ticket.key: ticket for ticket in waiting} == self._tickets
        assert not any(self._room(ticket.kind) for ticket in waiting)
        assert all(ticket.bound == self._vacant(ticket.kind) for ticket in waiting)

    def _taken(self, ticket: Ticket) -> Case:
        case = ticket.cargo
        assert isinstance(case, Case)
        ticket.cargo = None  # a running request keeps nothing alive but its counts
        self._tickets.pop(case.stream, None)
        return case

    def _kind(self, case: Case) -> Hashable:
        listed = case.listed
        if listed is not None and len(listed) == len(self._fleet.members):
            listed = None
        if listed is None and case.request.subset is None and case.ceiling == inf:
            return None
        return (listed, case.request.subset, case.ceiling)

    def _ceiling(self, priority: int) -> float:
        ceiling = self.control.band(priority).ceiling
        if ceiling is None:
            return inf if priority >= 0 and not self._evicts else 1.0
        return ceiling

    def _regrouped(self, ticket: Ticket) -> Hashable:
        case = ticket.cargo
        assert isinstance(case, Case)
        case.listed = self._fleet.may_serve(case.model, case.holder)
        case.ceiling = self._ceiling(case.priority or 0)
        return self._kind(case)

    def _fitting(self, kind: Hashable) -> Callable[[Member], bool]:
        """Whether a member may serve requests of this kind."""
        listed, allowed, _ = _parts(kind)
        members = self._fleet.members

        def fits(member: Member) -> bool:
            state = member.state
            may = listed is None or state.slot in listed
            here = members.get(state.id) is member and state.severity < SUSPECT
            return here and may and (allowed is None or is_among(state, allowed))

        return fits

    def _room(self, kind: Hashable) -> bool:
        """Whether one who waits may go: to one of the least unwell endpoints that are there and may serve, if
        it has room; also when none may serve.
        """
        return self._takes(kind, there=True)

    def _takes(self, kind: Hashable, *, there: bool = False) -> bool:
        """The same of endpoints that may be absent, too, unless they have to be *there*."""
        fleet = self._fleet
        there = there and bool(fleet.concerns.unwell)
        listed, allowed, ceiling = _parts(kind)
        if not fleet.members or (ceiling == inf and not there and not fleet.concerns.full):
            return bool(fleet.members)
        may, found, best = False, False, DOWN + 1
        for member in fleet.members.values():
            state = member.state
            if state.severity > best or (listed is not None and state.slot not in listed):
                continue
            if allowed is not None and not is_among(state, allowed):
                continue
            may = True
            if there and member.health.absent(self._now):
                continue
            if state.severity < best:
                best, found = state.severity, False
            found = found or state.has_room(ceiling)
        return found or not may

    def _vacant(self, kind: Hashable) -> bool:
        """Whether nobody of those that may serve requests of this kind is there, or there are none at all."""
        fleet = self._fleet
        if not fleet.concerns.unwell:
            return not fleet.members
        listed, allowed, _ = _parts(kind)
        found = not fleet.members
        for member in fleet.members.values():
            state = member.state
            if listed is not None and state.slot not in listed:
                continue
            if allowed is not None and not is_among(state, allowed):
                continue
            if not self._away(member):
                return False
            found = True
        return found

    def _away(self, member: Member) -> bool:
        """Whether it does not count as there: where requests are held, an endpoint has to be seen first."""
        health = member.health
        return health.unreached if self.hold_empty_s > 0 else health.gone

    def _look(self) -> None:
        """Whoever waits for endpoints that have gone since waits as long as one may for an empty pool."""
        fleet = self._fleet
        members = fleet.members
        away = frozenset(
            [
                state.slot
                for state in fleet.concerns.unwell
                if (member := members.get(state.id)) is not None
                and member.state is state
                and self._away(member)
            ]
        )
        vacancy = fleet.collected, away
        if vacancy == self._vacancy:
            return
        self._vacancy = vacancy
        vacant: dict[Hashable, bool] = {}

        def is_vacant(kind: Hashable) -> bool:
            if kind not in vacant:
                vacant[kind] = self._vacant(kind)
            return vacant[kind]

        self.control.rebind(is_vacant, self._now + self.hold_empty_s)


def evicts(settings: FlowSettings) -> bool:
    """Whether requests of some band may be ended while they run."""
    return settings.other_bands.evict or any(band.evict for band in settings.bands.values())


def _parts(kind: Hashable) -> tuple[frozenset[int] | None, frozenset[str] | None, float]:
    """Slots of endpoints that may serve a kind, the addresses that it allows, and its ceiling."""
    if not isinstance(kind, tuple):
        return None, None, inf
    listed, subset, ceiling = kind
    return listed, None if subset is None else addresses(subset), ceiling
