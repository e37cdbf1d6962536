"""One endpoint of the pool, put together from what is kept of it."""

from collections.abc import Collection, Mapping
from functools import partial
from math import inf

from headgate.model.endpoints import Endpoint
from headgate.model.load import Load, ModelCard
from headgate.model.objects.flow import DetectorSpec
from headgate.picker.bookings import Bookings
from headgate.picker.concerns import Concerns
from headgate.picker.correction import Correction
from headgate.picker.headroom import Headroom
from headgate.picker.health import Health
from headgate.picker.liveness import Liveness
from headgate.picker.pace import Pace
from headgate.picker.queue_guess import QueueGuess
from headgate.picker.reconciler import Reconciler
from headgate.picker.settings import AdmissionSettings, HealthSettings
from headgate.picker.tracked import Booking
from headgate.scheduling.api import EndpointState

ADAPTERS = 8
"""LoRA adapters believed to fit where the engine does not say how many."""


class Member:
    """An endpoint in the machine's hands; outlives its place in the pool until its requests have ended.

    Four parts share the work, each with what is always true of it: `bookings` (what requests take of it),
    `liveness` (whether it shows life), `correction` (what scrapes say beside that) and `queue` (what is
    believed to wait in its engine). They alone change `state`, together with the fleet.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        slot: int,
        health: HealthSettings,
        concerns: Concerns,
        *,
        fills: bool = False,
    ) -> None:
        """*fills*: it may have its fill, and others wait then."""
        self.headroom = Headroom() if fills else None
        self.state = state = EndpointState(endpoint, slot, concerns)
        self.health = Health(health, partial(concerns.plain, state))
        self.bookings = Bookings(state, concerns)
        self.liveness = Liveness(state, self.health, self.bookings, health)
        self.correction = Correction(state)
        self.queue = QueueGuess()
        self.pace = Pace()
        self.models: tuple[ModelCard, ...] = ()
        self._adapters: dict[str, None] = {}
        """The least recently used first."""
        self.state.adapters = self._adapters
        self._lora_limit = ADAPTERS
        self.reconciler = Reconciler()
        self.lengths: Mapping[str, int] = {}
        """Model name → most tokens that a prompt and its answer may have there, where known."""
        self.knows_models = False
        """`models` are its names: a list came, and its server answers no error in place of a newer one."""
        self.models_error: str | None = None
        """Why its newest model list did not come; None: it came, or was not asked for yet."""

    def book(self, booking: Booking, now: float) -> None:
        """The booking, whose tokens are set, is the endpoint's from now on."""
        booking.member = self
        booking.sent_at = now
        self.bookings.add(booking)
        self.queue.sent(booking)
        self._look_for_room()

    def computed(self, booking: Booking) -> None:
        """Its prompt is computed, or believed to be."""
        self.queue.computed(booking)
        self.bookings.computed(booking)

    def signed(self, booking: Booking, now: float) -> None:
        """Its first token or answer came."""
        self.liveness.sign(now)
        if self.heard_of(booking):
            self.liveness.answered(booking, now)
        self.computed(booking)

    def heard_of(self, booking: Booking) -> bool:
        """Nothing is awaited of it any more; True when something was."""
        awaited = self.bookings.heard_of(booking)
        if awaited:
            self._look_for_room()
        return awaited

    def release(self, booking: Booking) -> None:
        """It is over, or turned out to be elsewhere."""
        self.queue.computed(booking)
        self.bookings.remove(booking)
        self._look_for_room()
        self.health.released(booking.stream)
        booking.member = None

    def scraped(self, load: Load, now: float, mean_own: float, mean_context: float) -> bool:
        """A scrape succeeded; True when the engine restarted. Of the means see `Correction.scraped`."""
        restarted = self.liveness.scraped(load.progress, load.started, now)
        if load.lora_limit is not None:
            self._lora_limit = load.lora_limit
        for name in (*load.loras_waiting, *load.loras_running):
            self.use_adapter(name)
        self.correction.scraped(load, now, self.bookings.peak, mean_own, mean_context)
        self.bookings.scraped()
        self.queue.scraped(load, self.bookings.held.values())
        if self.headroom is not None:
            self.headroom.scraped(load.running, load.waiting, load.kv_used)
            self._look_for_room()
        return restarted

    def forget_scrape(self) -> None:
        """The newest scrape is too old to be believed."""
        self.correction.forget()
        if self.headroom is not None:
            self.headroom.forget_scrape()
        self._look_for_room()

    def detect(self, detector: DetectorSpec) -> None:
        """This says from now on whether it has its fill."""
        if self.headroom is not None:
            self.headroom.detector = detector
            self._look_for_room()

    def guess_seats(self, seats: float) -> None:
        """Others of the pool have so many."""
        if self.headroom is not None and self.headroom.seats is None:
            self.headroom.guess(seats)
            self._look_for_room()

    def judge(self, now: float) -> None:
        """Bring severity and share up to *now*."""
        health = self.health
        late = health.condition == "suspect" and self.overdue(now) is not None
        health.refresh(now, late)
        severity, complaint = health.severity(now)
        self.state.judge(severity, complaint, health.ramp(now))
        self._look_for_room()

    def use_adapter(self, name: str) -> None:
        """A request of the adapter runs there, waits there or was sent there: it is the last to be evicted.

        Engines name only those in use; the others stay loaded until their places are needed.
        """
        adapters = self._adapters
        adapters.pop(name, None)
        adapters[name] = None
        while len(adapters) > self._lora_limit:
            del adapters[next(iter(adapters))]

    def keep_adapters(self, names: Collection[str]) -> None:
        """No others are loaded any more."""
        for name in [name for name in self._adapters if name not in names]:
            del self._adapters[name]

    def waiting(self, settings: AdmissionSettings) -> float:
        """Requests believed to queue in the engine: see `QueueGuess.waiting`."""
        return self.queue.waiting(self.state.load, self.state.in_flight, settings)

    def needs_watching(self, now: float) -> bool:
        """Whether a newer scrape may change what is decided: it is unwell, its engine reports a queue, or a
        request there has no first token yet though it was predicted by now.
        """
        load = self.state.load
        if not self.health.plain or (load is not None and load.waiting > 0):
            return True
        return self.liveness.late(now)

    def overdue(self, now: float) -> str | None:
        """Why the endpoint seems to hang; None while it does not."""
        return self.liveness.overdue(now, self.correction.error is not None)

    def note_trouble(self, now: float) -> None:
        """Keep what is held against the endpoint now in every request that waits there."""
        for booking in self.bookings.held.values():
            self.note_trouble_of(booking, now)

    def note_trouble_of(self, booking: Booking, now: float) -> None:
        """The same for one request: the first that there was, and only of the endpoint that was picked."""
        health = self.health
        if health.plain or booking.trouble is not None or booking.moved:
            return
        if health.condition in ("suspect", "down"):
            booking.trouble = health.severity(now)[1]

    def check(self) -> None:
        """Assert the invariants of its parts, and what holds between them."""
        state, held = self.state, self.bookings.held
        self.bookings.check()
        self.liveness.check()
        self.correction.check()
        self.queue.check(held.values())
        assert (state.full, state.seats, state.pressure) == self._crowding(), state.id
        assert all(one.member is self for one in held.values()), state.id
        assert self.health.probe is None or self.health.probe in held, state.id

    def _crowding(self) -> tuple[bool, float, float]:
        """Whether it has its fill, its seats and its pressure."""
        headroom, state = self.headroom, self.state
        if headroom is None:
            return False, inf, 0.0
        there = state.in_flight + state.extra_requests
        full = headroom.full(there, len(self.bookings.awaited), state.ramp)
        return full, headroom.most() * state.ramp, headroom.pressure()

    def _look_for_room(self) -> None:
        """Bring up to date how much room it has: after every change of what is there or of its seats."""
        headroom, state = self.headroom, self.state
        calm = not state.full and state.seats == inf and not state.pressure
        if headroom is None or (headroom.open and calm):
            return
        state.crowd(*self._crowding())
