"""The pool's endpoints as the machine knows them: members, prefix index, what scrapes and time do to them."""

from collections.abc import Iterable, Mapping
from heapq import heappop, heappush

from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId
from headgate.model.load import Load
from headgate.model.objects.flow import DetectorSpec
from headgate.model.requests import BYTES_PER_TOKEN
from headgate.picker.concerns import Concerns
from headgate.picker.doubts import Doubts
from headgate.picker.events import ModelsListed, Scraped
from headgate.picker.headroom import LEARNED
from headgate.picker.health import Condition
from headgate.picker.listings import Listings, lengths
from headgate.picker.member import Member
from headgate.picker.pace import KEPT_S, Pace, fast_fifth
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Booking, Tracked
from headgate.picker.view import EndpointView
from headgate.scheduling.api import EndpointState
from headgate.scheduling.prefix import DEFAULT_KV_TOKENS, BlockIndex, PrefixIndex, capacity_blocks

SILENT = frozenset({"refused", "unreachable", "reset", "timeout", "tls", "not-sent"})
"""Errors of a page that no server answered: what it said before stands."""


FIRST_PROMPT_SHARE = 0.8
"""`Fleet.prompt_share` before any answer was seen."""

SAME_CAPACITY = 0.02
"""Share of an index's capacity by which another one is not worth the change."""


class Fleet:
    """Members of the pool, and those that left it with requests still running."""

    def __init__(self, settings: MachineSettings, index: BlockIndex | None = None) -> None:
        self._settings = settings
        self.index: BlockIndex = PrefixIndex() if index is None else index
        self.members: dict[EndpointId, Member] = {}
        """Ordered by id."""
        self.leaving: dict[EndpointId, Member] = {}
        self.states: list[EndpointState] = []
        """Of the members, in the same order."""
        self.adapters: set[str] = set()
        """Names known to be LoRA adapters."""
        self.names: set[str] = set()
        """Models and adapters that a member lists."""
        self.listings = Listings()
        self.doubts = Doubts(settings.health.first_backoff_s, settings.health.longest_backoff_s)
        self.concerns = Concerns()
        self.bytes_per_token = BYTES_PER_TOKEN
        """Of the prompts of late."""
        self.prompt_share = FIRST_PROMPT_SHARE
        """Of the tokens that enter the engines' caches, those that are prompts: answers stay there, too."""
        self.paces_moved = False
        """An answer taught a pace since they were compared last."""
        self.collected = 0
        """How often the members, or what they list, were others than before."""
        self.restarted: list[EndpointId] = []
        """Members whose engines were seen to start anew, until somebody takes note."""
        self._detector = LEARNED
        self._free: list[int] = []
        self._slots = 0

    def change(self, endpoints: Iterable[Endpoint], now: float, serving: bool, held: bool = False) -> None:
        """These are the endpoints now. *serving*: the pool has traffic, so that newcomers start slowly.

        Newcomers of a pool that has traffic, or whose requests are *held* for the first endpoint, are not
        believed to be alive before they were seen.
        """
        wanted = {endpoint.id: endpoint for endpoint in endpoints}
        before = self.members
        gone = [member for key, member in before.items() if key not in wanted]
        self.members = {
            key: self._member(wanted[key], now, serving and bool(before), held) for key in sorted(wanted)
        }
        for member in gone:
            self._forget_prompts(member)
            self.index.remove(member.state.slot)
            self.doubts.forget(member.state.slot)
            member.state.refill(0.0)
            self.concerns.left(member.state)
            self.leaving[member.state.id] = member
            self.left(member)
        self.states = [member.state for member in self.members.values()]
        self._share_seats()
        self._collect_models()

    def find(self, endpoint: EndpointId) -> Member | None:
        """The member of that id, also one that is leaving."""
        return self.members.get(endpoint) or self.leaving.get(endpoint)

    def may_serve(self, model: str | None, holder: EndpointId | None) -> frozenset[int] | None:
        """Slots of the endpoints that may serve the model; None: nothing speaks against anyone. *holder*, if
        it is a member, alone may."""
        member = None if holder is None else self.members.get(holder)
        return self.listings.may_serve(model) if member is None else frozenset((member.state.slot,))

    def left(self, member: Member) -> None:
        """A request of *member* ended: free it when it was the last of a leaving one."""
        if not member.bookings.held and self.leaving.get(member.state.id) is member:
            del self.leaving[member.state.id]
            heappush(self._free, member.state.slot)

    def expect(self, tracked: Tracked, booking: Booking) -> None:
        """The prompt goes to its member: expected there, as far as the model's length and the cache allow."""
        member = booking.member
        if not tracked.blocks or member is None or self.leaving.get(member.state.id) is member:
            return
        room = self.index.capacity(member.state.slot)
        if (longest := member.lengths.get(tracked.model or "")) is not None:
            room = min(room, int(longest / tracked.block_tokens))
        booking.expected = tracked.blocks[: 8 * room]
        self.index.expect(member.state.slot, booking.expected)
        self._refill(member)

    def conclude_prompt(self, booking: Booking, *, computed: bool) -> None:
        """The prompt's fate is known: what was expected is remembered, or taken back."""
        member = booking.member
        if not booking.expected or member is None:
            return
        (self.index.confirm if computed else self.index.withdraw)(member.state.slot, booking.expected)
        booking.expected = b""
        self._refill(member)

    def _refill(self, member: Member) -> None:
        member.state.refill(self.index.fill(member.state.slot))

    def scraped(self, event: Scraped, now: float, mean_own: float, mean_context: float) -> list[Booking]:
        """Take in a scrape; an endpoint that is not a member is ignored.

        The requests held there that the engine's count shows to be over.
        """
        member = self.members.get(event.endpoint)
        if member is None:
            return []
        if event.load is None:
            error = event.error or "failed"
            member.correction.failed(error)
            lively = now - member.liveness.last_sign < self._settings.health.quiet_s
            if member.health.scrape_failed(now, error, lively=lively):
                self._restarted(member)
            return []
        member.health.scraped(now)
        unknown = member.headroom is not None and member.headroom.seats is None
        if member.scraped(event.load, now, mean_own, mean_context):
            self._restarted(member)
            self.restarted.append(event.endpoint)
            member.health.start_slowly(now)
        if not event.load.asleep:
            member.health.awake(now)
        elif member.health.slept(now):
            self._restarted(member)  # sleep discards the KV cache
        if unknown:
            self._share_seats()
        self._size(member, event.load)
        self.adapters.update(member.state.adapters)
        return member.reconciler.scraped(event.load, member.bookings.held.values(), now)

    def listed(self, event: ModelsListed, now: float) -> None:
        """An endpoint told which models it serves; what it told before stays where no list came."""
        member = self.members.get(event.endpoint)
        if member is None:
            return
        before = member.knows_models, member.models
        member.models_error = event.error
        if event.error is None or event.error not in SILENT:
            member.health.seen(now)
        if event.error is None:
            member.models = event.models
            member.lengths = lengths(event.models)
            member.keep_adapters([card.id for card in event.models])
            member.knows_models = True
        elif event.error not in SILENT:
            member.knows_models = False
        if (member.knows_models, member.models) != before:
            self._collect_models()

    def tick(self, now: float) -> None:
        """Look for what time alone brings: hanging endpoints, scrapes gone stale."""
        for member in self.members.values():
            if member.correction.stale(now, self._settings.stale_s):
                member.forget_scrape()
            if member.bookings.held and (reason := member.overdue(now)) is not None:
                member.health.hanging(now, reason)
                member.note_trouble(now)
        if self.paces_moved:
            self._compare_paces(now)

    def settle(self, now: float) -> None:
        """Bring every member's severity and share up to *now*; call before states are read."""
        if not self.concerns.unwell:
            return
        for state in tuple(self.concerns.unwell):
            member = self.members.get(state.id)
            if member is None or member.state is not state:
                self.concerns.plain(state, True)  # it fell ill while leaving
            else:
                member.judge(now)

    def restless(self) -> bool:
        """Something is under way that time alone may change."""
        return bool(self.concerns.awaiting or self.concerns.unwell)

    def unwell(self) -> Mapping[EndpointId, tuple[Condition, str]]:
        """The members that are neither `up` nor `new`, and why."""
        return {
            state.id: (member.health.condition, member.health.reason)
            for state in self.concerns.unwell
            if (member := self.members.get(state.id)) is not None
            and member.state is state
            and member.health.condition not in ("up", "new")
        }

    def refusing(self) -> Mapping[EndpointId, str]:
        """The members that refuse what others answer well, and what they say."""
        refusing = self.doubts.refusing()
        if not refusing:
            return {}
        states = [member.state for member in self.members.values()]
        return {state.id: refusing[state.slot] for state in states if state.slot in refusing}

    def views(self, now: float) -> tuple[EndpointView, ...]:
        """The members as they are at *now*, then those that leave; changes nothing."""
        members = [self._view(member, False, now) for member in self.members.values()]
        return (*members, *[self._view(member, True, now) for member in self.leaving.values()])

    def check(self) -> None:
        """Assert the invariants of every member and of the index."""
        for member in (*self.members.values(), *self.leaving.values()):
            member.check()
        assert not self.members.keys() & self.leaving.keys()
        assert all(member.bookings.held for member in self.leaving.values())
        concerns = self.concerns
        states = {member.state for member in self.members.values()}
        assert concerns.unwell & states == {
            member.state for member in self.members.values() if not member.health.plain
        }
        assert concerns.queueing == {state for state in states if state.load and state.load.waiting}
        assert concerns.full & states == {state for state in states if state.full}
        everyone = (*self.members.values(), *self.leaving.values())
        assert concerns.awaiting == sum(len(member.bookings.awaited) for member in everyone)
        slots = [state.slot for state in self.states] + [
            member.state.slot for member in self.leaving.values()
        ]
        assert sorted(slots + self._free) == list(range(self._slots)), (slots, self._free)
        assert list(self.members) == sorted(self.members) == [state.id for state in self.states]
        for member in everyone:
            expected = sum(len(booking.expected) // 8 for booking in member.bookings.held.values())
            assert self.index.expected(member.state.slot) == expected, member.state.id
        self.index.check()

    def _member(self, endpoint: Endpoint, now: float, slowly: bool, held: bool) -> Member:
        known = self.members.get(endpoint.id)
        if known is not None:
            known.state.rename(endpoint)
            return known
        member = self.leaving.pop(endpoint.id, None)
        if member is None:
            fills = self._settings.flow is not None
            member = Member(endpoint, self._slot(), self._settings.health, self.concerns, fills=fills)
            member.detect(self._detector)
            if slowly or held:
                member.health.join(now, slowly=slowly)
        else:
            member.state.rename(endpoint)
            self.concerns.returned(member.state, member.health.plain)
            if slowly:
                member.health.start_slowly(now)
        self.index.open(member.state.slot, self._capacity(DEFAULT_KV_TOKENS))
        return member

    def detect(self, detector: DetectorSpec) -> None:
        """This says from now on which members have their fill."""
        self._detector = detector
        for member in (*self.members.values(), *self.leaving.values()):
            member.detect(detector)

    def _share_seats(self) -> None:
        """Members whose seats nobody knows are believed to have as many as the largest."""
        seats = [
            each.headroom.seats
            for each in self.members.values()
            if each.headroom is not None and each.headroom.seats is not None
        ]
        if not seats or len(seats) == len(self.members):
            return
        for member in self.members.values():
            member.guess_seats(max(seats))

    def _compare_paces(self, now: float) -> None:
        self.paces_moved = False
        for member in self.members.values():
            if member.pace.answers and now - member.pace.heard_at > KEPT_S:
                member.pace = Pace()
        fast = fast_fifth([member.pace for member in self.members.values()])
        for member in self.members.values():
            member.state.compare(member.pace.relative(fast))

    def _slot(self) -> int:
        if self._free:
            return heappop(self._free)
        self._slots += 1
        return self._slots - 1

    def ended(self, member: Member) -> None:
        """Nobody listened there: its process is gone, and its cache with it."""
        if self.members.get(member.state.id) is member:
            self._restarted(member)

    def _restarted(self, member: Member) -> None:
        self._forget_prompts(member)
        self.index.clear(member.state.slot)
        member.keep_adapters(())
        member.reconciler.restarted()
        self._refill(member)

    def _forget_prompts(self, member: Member) -> None:
        """Its cache is gone, and what was sent there with it."""
        for booking in member.bookings.held.values():
            booking.expected = b""

    def _capacity(self, kv_tokens: int) -> int:
        return capacity_blocks(kv_tokens, self.bytes_per_token, self.prompt_share)

    def _size(self, member: Member, load: Load) -> None:
        kv_tokens = (load.kv_blocks or 0) * (load.block_tokens or 0) or DEFAULT_KV_TOKENS
        slot = member.state.slot
        capacity = self._capacity(kv_tokens)
        before = self.index.capacity(slot)
        if abs(capacity - before) > SAME_CAPACITY * before:
            self.index.open(slot, capacity)
            self._refill(member)

    def _collect_models(self) -> None:
        self.collected += 1
        self.listings.collect(self.members.values())
        self._collect_names()

    def _collect_names(self) -> None:
        self.names = {card.id for member in self.members.values() for card in member.models}
        found = {name for state in self.states for name in state.adapters}
        for member in self.members.values():
            found.update(card.id for card in member.models if card.parent is not None)
        self.adapters = found

    def _view(self, member: Member, leaving: bool, now: float) -> EndpointView:
        state, health = member.state, member.health
        stale = state.scraped_at is None or now - state.scraped_at > self._settings.stale_s
        return EndpointView(
            endpoint=state.id,
            name=state.name,
            condition=health.condition,
            reason=health.severity(now)[1] or self.doubts.about(state.slot, now),
            leaving=leaving,
            in_flight=state.in_flight,
            pending_tokens=state.pending_tokens,
            context_tokens=state.context_tokens,
            extra_requests=state.extra_requests,
            load=None if stale else state.load,
            scrape_age_s=None if state.scraped_at is None else now - state.scraped_at,
            scrape_error=member.correction.error,
            models_error=member.models_error,
            prefix_blocks=self.index.blocks(state.slot),
            prefix_fill=state.fill,
            ramp=health.ramp(now),
            pace=state.pace,
            models=tuple(card.id for card in member.models),
        )
