"""One endpoint of the pool with the requests it holds: the router's own accounting."""

from collections.abc import Collection, Mapping
from functools import partial

from headgate.model.endpoints import Endpoint
from headgate.model.ids import StreamId
from headgate.model.load import Load, ModelCard
from headgate.picker.headroom import Headroom
from headgate.picker.health import Health
from headgate.picker.pace import Pace
from headgate.picker.reconciler import Reconciler
from headgate.picker.settings import AdmissionSettings, HealthSettings
from headgate.picker.tracked import Tracked
from headgate.scheduling.api import EndpointState

LATER, SOONER = 0.5, 0.05
"""Weights of a suspicion that proved wrong, and of an answer in time, in an endpoint's lateness."""

MOST_GUESSED = 2.0
"""Times the limit: as many waiting requests are believed at most where the engine reports none."""

ADAPTERS = 8
"""LoRA adapters believed to fit where the engine does not say how many."""

UNCOUNTED_S = 1.0
"""A token that the progress counter does not show for so long will never be shown."""


class Concerns:
    """What in a fleet needs looking at again; kept by its members, so that nobody has to look at them all."""

    __slots__ = ("full", "queueing", "unsigned", "unwell")

    def __init__(self) -> None:
        self.unwell: set[Member] = set()
        """Members whose health is not plain."""
        self.unsigned = 0
        """Requests without a first token or answer yet."""
        self.queueing: set[Member] = set()
        """Members whose engine reported a queue when scraped last."""
        self.full: set[Member] = set()
        """Members that have their fill; none where nobody waits for room."""


class Member:
    """An endpoint in the machine's hands; outlives its place in the pool until its requests have ended."""

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
        self.state = EndpointState(endpoint, slot)
        self.health = Health(health, partial(concerns.unwell.add, self))
        self._concerns = concerns
        self._settings = health
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
        self.holds: dict[StreamId, Tracked] = {}
        self.unsigned: dict[StreamId, Tracked] = {}
        """Those without a first token or answer yet, in the order sent."""
        self.last_sign = float("-inf")
        self.lateness = 1.0
        """How many times longer than predicted its answers take, at least 1: wrong constants are no hang."""
        self.scrape_error: str | None = None
        self.models_error: str | None = None
        """Why its newest model list did not come; None: it came, or was not asked for yet."""
        self.new_requests = 0
        """Pending requests sent since the newest scrape."""
        self.new_tokens = 0
        self._most_running = 0
        """Sequences that the engine was ever seen to run at once, at most."""
        self._has_queued = False
        """The engine reported a queue once: what it ran at most is what it has room for."""
        self._peak = 0
        self._progress: float | None = None
        self._counted: float | None = None
        """The progress counter when it was last told."""
        self._progress_from = 0.0
        self._uncounted_from: float | None = None
        """When the first token came that the progress counter does not show."""
        self._miscounts = False
        """The progress counter is no sign of life: tokens come while it stands still."""
        self._lull_s = 0.0
        """Longest standstill of the progress counter that ended by itself."""

    def book(self, tracked: Tracked, now: float) -> None:
        """The request goes here; its `own_tokens` and `context_tokens` are set."""
        state = self.state
        tracked.member = self
        tracked.sent_at = now
        tracked.pending = tracked.since_scrape = True
        state.in_flight += 1
        state.pending_tokens += tracked.own_tokens
        state.context_tokens += tracked.context_tokens
        self.new_requests += 1
        self.new_tokens += tracked.own_tokens
        self.holds[tracked.stream] = tracked
        if not tracked.unseen:
            self.unsigned[tracked.stream] = tracked
            self._concerns.unsigned += 1
        if state.in_flight > self._peak:
            self._peak = state.in_flight
        state.seen = None
        self.look_for_room()

    def release_pending(self, tracked: Tracked) -> None:
        """Its prompt is computed, or believed to be."""
        if tracked.pending:
            tracked.pending = False
            self.state.pending_tokens -= tracked.own_tokens
            self.state.seen = None
        if tracked.since_scrape:
            tracked.since_scrape = False
            self.new_requests -= 1
            self.new_tokens -= tracked.own_tokens

    def signed(self, tracked: Tracked, now: float) -> None:
        """Its first token or answer came."""
        self.sign(now)
        if self.heard_of(tracked) and self.lateness > 1.0:
            self._quicken(tracked, now)
        self.release_pending(tracked)

    def heard_of(self, tracked: Tracked) -> bool:
        """Nothing is awaited of it any more; True when something was."""
        if self.unsigned.pop(tracked.stream, None) is None:
            return False
        self._concerns.unsigned -= 1
        self.look_for_room()
        return True

    def produced(self, tracked: Tracked, now: float) -> None:
        """A token came: a counter that does not move for it counts something else."""
        if self._progress_from < tracked.sent_at and self._uncounted_from is None:
            self._uncounted_from = now

    def sign(self, now: float) -> None:
        """The endpoint showed life."""
        self._excuse(now)
        self.last_sign = now
        self.health.alive(now)

    def close(self, tracked: Tracked) -> None:
        """The request is over, or turned out to be elsewhere."""
        self.release_pending(tracked)
        self.heard_of(tracked)
        del self.holds[tracked.stream]
        state = self.state
        state.in_flight -= 1
        state.context_tokens -= tracked.context_tokens
        state.seen = None
        self.look_for_room()
        self.health.released(tracked.stream)
        tracked.member = None

    def look_for_room(self) -> None:
        """Bring up to date whether it has its fill; after every change of what is there or of its seats."""
        headroom = self.headroom
        if headroom is None or (headroom.seats is None and not self.state.full):
            return
        state = self.state
        full = headroom.full(state.in_flight + state.extra_requests, len(self.unsigned), state.ramp)
        if full != state.full:
            state.full = full
            (self._concerns.full.add if full else self._concerns.full.discard)(self)

    def scraped(self, load: Load, now: float, mean_own: float, mean_context: float) -> bool:
        """A scrape succeeded; True when the engine restarted (its progress went backwards).

        Requests reported beyond the most we had there since the last scrape are somebody else's: extra load
        of *mean_own* uncached tokens each while they wait, and of *mean_context* tokens of context.
        """
        state = self.state
        restarted = self._note_progress(load.progress, now)
        state.load = load
        state.scraped_at = now
        self.scrape_error = None
        if load.lora_limit is not None:
            self._lora_limit = load.lora_limit
        for name in (*load.loras_waiting, *load.loras_running):
            self.use_adapter(name)
        state.extra_requests = max(0, load.waiting + load.running - self._peak)
        state.extra_pending_tokens = round(min(state.extra_requests, load.waiting) * mean_own)
        state.extra_context_tokens = round(state.extra_requests * mean_context)
        state.seen = None
        self._peak = state.in_flight
        (self._concerns.queueing.add if load.waiting else self._concerns.queueing.discard)(self)
        self._most_running = max(self._most_running, load.running)
        self._has_queued = self._has_queued or load.waiting > 0
        for tracked in self.holds.values():
            tracked.since_scrape = False
        self.new_requests = self.new_tokens = 0
        if self.headroom is not None:
            self.headroom.scraped(load.running, load.waiting)
            self.look_for_room()
        return restarted

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

    def forget_scrape(self) -> None:
        """The newest scrape is too old to be believed."""
        state = self.state
        state.load = None
        state.extra_requests = state.extra_pending_tokens = state.extra_context_tokens = 0
        state.seen = None
        self._concerns.queueing.discard(self)
        self.look_for_room()

    def waiting(self, settings: AdmissionSettings) -> float:
        """Requests believed to queue in the engine: scraped, plus what was sent since and finds no room.

        Where the engine reported a queue, whoever came since stands in it too. Otherwise those count who pass
        the most it was ever seen to run at once, or the prompt tokens of one step; being a guess, that stays
        within twice the limit, too little to refuse anyone but requests of negative priority.
        """
        load = self.state.load
        if load is not None and load.waiting:
            return float(load.waiting + self.new_requests)
        guess = 0.0
        if self._has_queued:
            running = load.running if load is not None else self.state.in_flight - self.new_requests
            guess = float(running + self.new_requests - max(self._most_running, running))
        if self.new_tokens > settings.step_tokens:
            guess = max(guess, self.new_requests * (1.0 - settings.step_tokens / self.new_tokens))
        return min(max(0.0, guess), MOST_GUESSED * settings.waiting_limit)

    def needs_watching(self, now: float) -> bool:
        """Whether a newer scrape may change what is decided: it is unwell, its engine reports a queue, or a
        request there has no first token yet though it was predicted by now.
        """
        load = self.state.load
        if not self.health.plain or (load is not None and load.waiting > 0):
            return True
        oldest = next(iter(self.unsigned.values()), None)
        return oldest is not None and now - oldest.sent_at > self.lateness * oldest.predicted_s

    def note_trouble(self, now: float) -> None:
        """Keep what is held against the endpoint now in every request that waits there."""
        for tracked in self.holds.values():
            self.note_trouble_of(tracked, now)

    def note_trouble_of(self, tracked: Tracked, now: float) -> None:
        """The same for one request: the first that there was, and only of the endpoint that was picked."""
        health = self.health
        if health.plain or tracked.trouble is not None or tracked.moved:
            return
        if health.condition in ("suspect", "down"):
            tracked.trouble = health.severity(now)[1]

    def overdue(self, settings: HealthSettings, now: float) -> str | None:
        """Why the endpoint seems to hang; None while it does not."""
        if not self.unsigned:
            return self._stalled(settings, now)
        oldest = next(iter(self.unsigned.values()))
        waited = now - oldest.sent_at
        scraped_at = self.state.scraped_at
        if self._counts() and scraped_at is not None:
            quiet = now - max(self.last_sign, oldest.sent_at, self._progress_from)
            watched = scraped_at - max(oldest.sent_at, self._progress_from)
            late = (
                waited > max(settings.patience_s, 1.5 * self.lateness * oldest.predicted_s)
                and quiet > settings.quiet_s
            )
            blind = self.scrape_error is not None
            if late and (blind or watched > settings.quiet_s / 2):
                return f"no sign of life for {quiet:.1f} s"
            return None
        quiet = now - max(self.last_sign, oldest.sent_at)
        predicted = self.lateness * (oldest.predicted_s + oldest.answer_s)
        bound = settings.blind_factor * predicted + settings.blind_patience_s
        return f"no answer for {quiet:.1f} s" if waited > bound and quiet > bound else None

    def _counts(self) -> bool:
        """Whether the newest scrape is fresh and its progress counter means something."""
        return self._progress is not None and self.state.load is not None and not self._miscounts

    def _stalled(self, settings: HealthSettings, now: float) -> str | None:
        """All answers here have begun, sequences run, and no token is counted: a hang in the middle."""
        load, scraped_at = self.state.load, self.state.scraped_at
        if not self.holds or load is None or not load.running or scraped_at is None or not self._counts():
            return None
        newest = next(reversed(self.holds.values())).sent_at
        quiet = scraped_at - max(self.last_sign, self._progress_from, newest)
        return f"no token for {quiet:.1f} s" if quiet > max(settings.stall_s, 2 * self._lull_s) else None

    def check(self) -> None:
        """Assert that the sums are those of the requests held."""
        state = self.state
        held = self.holds.values()
        assert state.in_flight == len(held), (state.id, state.in_flight, len(held))
        assert state.pending_tokens == sum(one.own_tokens for one in held if one.pending), state.id
        assert state.context_tokens == sum(one.context_tokens for one in held), state.id
        assert self.new_requests == sum(1 for one in held if one.since_scrape), state.id
        assert self.new_tokens == sum(one.own_tokens for one in held if one.since_scrape), state.id
        full = self.headroom is not None and self.headroom.full(
            state.in_flight + state.extra_requests, len(self.unsigned), state.ramp
        )
        assert state.full == full, state.id
        assert self.unsigned.keys() <= self.holds.keys(), state.id
        assert all(one.member is self for one in held), state.id
        assert self.health.probe is None or self.health.probe in self.holds, state.id

    def _note_progress(self, progress: float | None, now: float) -> bool:
        before, self._progress = self._progress, progress
        counted, self._counted = self._counted, self._counted if progress is None else progress
        if progress == before:
            if self._uncounted_from is not None and now - self._uncounted_from > UNCOUNTED_S:
                self._miscounts = True
            return False
        if before is not None and self.holds and not self.unsigned:
            self._lull_s = max(self._lull_s, min(now - self._progress_from, now - self.last_sign))
        self._progress_from = now
        self._uncounted_from, self._miscounts = None, False
        if counted is not None and progress is not None and progress < counted:
            return True
        if before is None or progress is None:
            return False
        self._excuse(now)
        self.health.alive(now)
        return False

    def _excuse(self, now: float) -> None:
        """A sign of life: if the endpoint was suspected for a request's wait, it is slower than predicted."""
        if self.health.condition == "suspect" and self.unsigned:
            oldest = next(iter(self.unsigned.values()))
            self.lateness += LATER * max(0.0, self._ratio(oldest, now) - self.lateness)

    def _quicken(self, tracked: Tracked, now: float) -> None:
        """An answer sooner than lateness says. Short ones teach nothing: networks outweigh engines there."""
        if tracked.predicted_s + tracked.answer_s > self._settings.patience_s:
            self.lateness += SOONER * min(0.0, self._ratio(tracked, now) - self.lateness)

    def _ratio(self, tracked: Tracked, now: float) -> float:
        predicted = tracked.predicted_s + tracked.answer_s
        waited = now - tracked.sent_at
        if predicted <= 0 or waited <= predicted:
            return 1.0
        return min(self._settings.latest, waited / predicted)
