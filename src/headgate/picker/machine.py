"""The machine of one pool: events in, actions out. It never awaits, logs or reads a clock."""

from collections import deque
from collections.abc import Mapping, Sequence
from math import inf
from typing import assert_never

from headgate.model.decisions import Candidate, Decision, SessionResult
from headgate.model.endpoints import Pool
from headgate.model.flow_rules import FlowRules
from headgate.model.headers import HEALTH_PATH
from headgate.model.ids import EndpointId, PoolKey, StreamId
from headgate.model.load import ModelCard
from headgate.model.randomness import Rng
from headgate.model.requests import BLOCK_BYTES, LOST_POOL, LOST_TOO_LONG, InferenceRequest
from headgate.picker import claims, events, targets
from headgate.picker.actions import Action, ListModels, Reason, Reject, Relist, Route, WakeAt
from headgate.picker.admission import GO, Go, Refuse, crowding, goes_anyway, saturation, verdict
from headgate.picker.bindings import Bindings
from headgate.picker.case import Case
from headgate.picker.choice import Choice
from headgate.picker.fleet import Fleet
from headgate.picker.headroom import LEARNED
from headgate.picker.health import Condition
from headgate.picker.kept_answers import KeptAnswers
from headgate.picker.ledger import Ledger
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Booking, Tracked
from headgate.picker.view import PoolView
from headgate.picker.waiting import Waiting
from headgate.scheduling.api import DOWN, SUSPECT, Ask, Profile
from headgate.scheduling.costs import prefill_s, step_s, ttft_s
from headgate.scheduling.placement import Placement
from headgate.scheduling.prefix import BlockIndex
from headgate.scheduling.scheduler import Scheduler

RELIST_S = 1.0
"""Model lists are asked for out of turn at most so often, seconds."""

TOLD_EVENTS = 20
"""Events of the story that are attached to an error."""


class PoolMachine:
    """Decides where the requests of one pool go, from what it was told.

    Every RequestArrived is answered by exactly one Route, Reject or ListModels, in the list returned for that
    event, or for a later one when the request has to wait; by none when its client goes away before that.
    Events about unknown streams or endpoints are harmless.
    """

    def __init__(
        self,
        pool_key: PoolKey,
        profile: Profile,
        settings: MachineSettings,
        rng: Rng,
        index: BlockIndex | None = None,
    ) -> None:
        """*index* is this machine's own; None: a new `PrefixIndex`."""
        self.pool = Pool(pool_key)
        self._settings = settings
        self._rng = rng
        self._scheduler = Scheduler(profile, rng)
        self._fleet = Fleet(settings, index)
        self._waiting: Waiting | None = None
        if settings.flow is not None:
            self._waiting = Waiting(
                settings.flow, self._fleet, settings.costs.prefill_token_s, settings.hold_empty_s
            )
        self._ledger = Ledger(self._fleet, settings.costs, self._waiting)
        self._sessions = Bindings(settings.most_sessions, settings.session_idle_s)
        self._kept = KeptAnswers(Bindings(settings.most_answers, settings.answer_idle_s), self._fleet)
        self._story: deque[tuple[float, events.Event]] = deque(maxlen=settings.story)
        self._decided = 0
        self._refused = 0
        self._decided_at: float | None = None
        self._next_tick = 0.0
        self._wake_at: float | None = None
        self._relist = False
        self._next_lists = 0.0

    @property
    def story(self) -> tuple[tuple[float, events.Event], ...]:
        """The last events with their times, oldest first."""
        return tuple(self._story)

    def handle(self, event: events.Event, now: float) -> list[Action]:
        """Take in what happened at *now* (seconds, never going back) and say what to do about it.

        An error carries the last events as a note: it is a bug of ours.
        """
        self._story.append((now, event))
        try:
            given_up = self._pass_time(now)
            made = [*given_up, *self._handle(event, now)]
            if self._waiting is not None and self._waiting.stirs:
                self._let_go(self._waiting, made, now)
            if self._waiting is not None and self._waiting.evicting.stirs:
                made += self._waiting.evict(now)
            if self._relist:
                self._ask_for_lists(made, now)
            if self._wake_at is None or self._wake_at <= now:
                self._ask_for_wake(made)
        except Exception as error:
            told = list(self._story)[-TOLD_EVENTS:]
            error.add_note("\n".join(f"{when:.6f} {what!r:.300}" for when, what in told))
            raise
        return made

    def check(self) -> None:
        """Assert the invariants: sums are those of the requests held, bounds hold, both directions agree."""
        self._fleet.check()
        self._ledger.check()
        if self._waiting is not None:
            self._waiting.check()
            self._waiting.evicting.check(self._ledger.requests)
        self._scheduler.check(self._fleet.states)
        self._sessions.check()
        self._kept.check()
        assert len(self._story) <= self._settings.story

    def unwell(self) -> Mapping[EndpointId, tuple[Condition, str]]:
        """The pool's endpoints that are not `up`, and why."""
        return self._fleet.unwell()

    def refusing(self) -> Mapping[EndpointId, str]:
        """The pool's endpoints that refuse what others answer well, and what they say."""
        return self._fleet.refusing()

    def needs_watching(self, endpoint: EndpointId, now: float) -> bool:
        """Whether a newer scrape of *endpoint* may change what is decided."""
        member = self._fleet.members.get(endpoint)
        return member is not None and member.needs_watching(now)

    def knows(self, model: str) -> bool:
        """Whether *model* is configured, as a name or a target, or listed by an endpoint."""
        return model in self._fleet.names or targets.mentions(self.pool, model)

    def view(self, now: float) -> PoolView:
        """The pool as the machine sees it at *now*; changes nothing."""
        fleet, ledger = self._fleet, self._ledger
        return PoolView(
            pool=self.pool.key,
            policy=self._scheduler.profile.name,
            endpoints=fleet.views(now),
            saturation=saturation(fleet.members.values(), self._settings.admission),
            queue=None if self._waiting is None else self._waiting.view(now),
            in_flight=len(ledger.requests),
            decided=self._decided,
            refused=self._refused,
            prompt_tokens=ledger.prompt_tokens,
            matched_tokens=ledger.matched_tokens,
            hit_rate=ledger.hit_rate,
            reported_hit_rate=ledger.reported_hit_rate,
            sessions=self._sessions.view(),
            kept_answers=self._kept.view(),
        )

    def _handle(self, event: events.Event, now: float) -> Sequence[Action]:
        match event:
            case events.RequestArrived():
                answer = self._arrived(event.stream, event.request, now)
                return () if answer is None else [answer]
            case events.FirstToken():
                self._ledger.first_token(event, now)
            case events.RequestEnded():
                if self._waiting is not None and self._waiting.forget(event.stream, now):
                    return ()
                self._kept.ended(self._ledger.requests.get(event.stream), event, now)
                return self._ledger.ended(event, now)
            case events.AnswerStored():
                self._kept.keep(self._ledger.requests.get(event.stream), event.prior, event.served, now)
            case events.ResponseStarted():
                self._ledger.response_started(event, now)
            case events.Scraped():
                means = self._ledger.mean_own, self._ledger.mean_context
                over = self._fleet.scraped(event, now, *means)
                self._kept.forget_restarted()
                return self._ledger.give_up(over, now)
            case events.StageEnded():
                self._ledger.stage_ended(event, now)
            case events.PoolChanged():
                self._pool_changed(event.pool, now)
            case events.ProfileChanged():
                self._profile_changed(event.profile)
            case events.ModelsListed():
                self._fleet.listed(event, now)
            case events.PoolRemoved():
                if self._waiting is not None:
                    self._waiting.stop(now)
                return self._ledger.expire(float("inf"), now, LOST_POOL)
            case events.Woken():
                self._wake_at = None
            case _:
                assert_never(event)
        return ()

    def _pass_time(self, now: float) -> Sequence[Action]:
        self._ledger.release_due(now)
        if now < self._next_tick:
            return ()
        self._next_tick = now + self._settings.tick_s
        self._fleet.tick(now)
        self._fleet.settle(now)
        return self._ledger.expire(now - self._settings.longest_request_s, now, LOST_TOO_LONG)

    def _ask_for_lists(self, made: list[Action], now: float) -> None:
        """A name was refused that an endpoint may have loaded just now."""
        self._relist = False
        if now >= self._next_lists:
            self._next_lists = now + RELIST_S
            made.append(Relist())

    def _ask_for_wake(self, made: list[Action]) -> None:
        """Ask once per tick, and only while time alone may change something."""
        self._wake_at = None
        if self._fleet.restless() or self._waiting:
            self._wake_at = self._next_tick
            made.append(WakeAt(self._next_tick))

    def _pool_changed(self, pool: Pool, now: float) -> None:
        if pool.flow != self.pool.flow:
            self._flow_changed(pool.flow, now)
        self.pool = pool
        recent = self._decided_at is not None and now - self._decided_at <= self._settings.idle_s
        held = self._waiting is not None and self._waiting.hold_empty_s > 0
        self._fleet.change(pool.endpoints, now, serving=recent or bool(self._ledger.requests), held=held)

    def _profile_changed(self, profile: Profile) -> None:
        """Other filters and scorers from now on; what was learned is the pool's."""
        self._scheduler = Scheduler(profile, self._rng)
        for state in self._fleet.states:
            state.look_again()

    def _flow_changed(self, rules: FlowRules | None, now: float) -> None:
        if self._waiting is not None:
            self._fleet.detect(LEARNED if rules is None else rules.detector)
            self._waiting.configure(rules, now)

    def _arrived(self, stream: StreamId, request: InferenceRequest, now: float) -> Action | None:
        """The answer; None: there is none yet, or `_let_go` gives it."""
        request = claims.believed(request, claims.trusted(self.pool, request, self._settings.trusted))
        case = Case(stream, request, now, claims.priority(self.pool, request))
        case.session = claims.session(self.pool, request)
        waiting = self._waiting
        if stream in self._ledger.requests or (waiting is not None and waiting.holds(stream)):
            raise ValueError(f"stream {stream} is already in the pool's hands")
        held = waiting is not None and waiting.hold_empty_s > 0 and request.api != "models"
        if not self._fleet.members and not (held and request.path != HEALTH_PATH):
            return self._nobody(case)
        if request.path == HEALTH_PATH:
            return ListModels(stream, self.models())
        if request.api == "models" and ((listed := self.models()) or self.pool.models):
            return ListModels(stream, listed)
        target = targets.target(self.pool, request, case.session, self._rng)
        if isinstance(target, targets.Nameless):
            message = f"you must provide a model parameter; {targets.there_are(self.models())}"
            return self._reject(case, 400, "bad-request", message)
        if isinstance(target, targets.NoSuchModel):
            return self._no_model(case, f"the model {target.model!r} does not exist in this pool")
        if isinstance(target, targets.NoTarget):
            rule = target.rule
            message = f"the model {rule.model_name!r} has no target: all weights of {rule.object} are 0"
            return self._reject(case, 503, "no-target-model", message)
        case.model = target
        self._fleet.settle(now)
        if (refusal := self._unlisted(case)) is not None:
            return refusal
        if waiting is None:
            self._expect(case)
            return self._place(case)
        case.who = claims.fairness_id(self.pool, request)
        if self.pool.has_fallback and self._fleet.members and not waiting.room(case):
            message = "every endpoint of the pool that may serve the request has its fill"
            return self._saturated(case, message, 1)
        self._expect(case)
        return self._place(case) if waiting.arrive(case, case.prompt_tokens + case.output_tokens) else None

    def _let_go(self, waiting: Waiting, made: list[Action], now: float) -> None:
        """Place the requests that may go now, and answer those that may not any more."""
        self._fleet.settle(now)
        while (case := waiting.next(now, self._settings.costs.step_s)) is not None:
            case.now = now
            self._expect(case)
            made.append(self._unlisted(case) or self._place(case))
            if not isinstance(made[-1], Route):
                waiting.refused(case, now)
        for case, dropped in waiting.dropped():
            case.now = now
            reason = dropped.reason
            if reason == "stopped" or reason == "no-endpoints":
                made.append(self._nobody(case))
            else:
                made.append(self._reject(case, 429, reason, dropped.message, dropped.retry_after_s))

    def _nobody(self, case: Case) -> Reject:
        message = f"the pool {self.pool.key} has no endpoint"
        if self._fleet.members:
            message = f"no endpoint of the pool {self.pool.key} that may serve the request can be reached"
        return self._no_endpoints(case, message, ())

    def _unlisted(self, case: Case) -> Reject | None:
        """The refusal of a model that nobody has; None when somebody may have it."""
        target = case.model
        if case.request.prior is not None:
            self._kept.find(case, case.request.prior)
        case.listed = self._fleet.may_serve(target, case.holder)
        if case.listed is not None and not case.listed:
            self._relist = True
            message = f"no endpoint of this pool serves the model {target!r}"
            if case.rewritten is not None:
                message += f", which {case.request.model!r} stands for"
            return self._no_model(case, message)
        return None

    def _no_model(self, case: Case, message: str) -> Reject:
        return self._reject(case, 404, "unknown-model", f"{message}; {targets.there_are(self.models())}")

    def models(self) -> tuple[ModelCard, ...]:
        """What the pool serves, ordered by name."""
        return targets.listing(
            self.pool,
            (card for member in self._fleet.members.values() for card in member.models),
            self._nobody_has,
        )

    def _nobody_has(self, model: str) -> bool:
        """Every endpoint has told its models, and none lists this one."""
        found = self._fleet.listings.may_serve(model)
        return found is not None and not found

    def _admit(self, priority: int | None, ask: Ask) -> Go | Refuse:
        settings, fleet = self._settings.admission, self._fleet
        if goes_anyway(priority, bool(fleet.concerns.queueing), settings):
            return GO
        states = self._scheduler.may_serve(ask, fleet.states)
        healthy = [fleet.members[state.id] for state in states if state.severity < SUSPECT]
        if not healthy:
            return GO
        wait_s = min([ttft_s(member.state, 0, self._settings.costs) for member in healthy])
        return verdict(priority, saturation(healthy, settings), wait_s, settings)

    def _expect(self, case: Case) -> None:
        """What the request will use, by what its model's requests were like so far."""
        averages = case.averages = self._ledger.estimator.of(case.model)
        case.prompt_tokens = averages.prompt_tokens(case.request)
        case.output_tokens = averages.output_tokens(case.request)

    def _place(self, case: Case) -> Action:
        request, model, fleet = case.request, case.model, self._fleet
        prompt_tokens = case.prompt_tokens
        blocks = case.blocks(self.pool, fleet.listings.aliases)
        matched: dict[int, int] = {}
        prefix = b""
        if blocks and (found := fleet.index.match(blocks)):
            tokens = BLOCK_BYTES / case.averages.bytes_per_token
            most = prompt_tokens - 1
            deepest = 0
            for slot, n in found.items():
                matched[slot] = min(most, round(n * tokens))
                if n > deepest:
                    deepest = n
            prefix = blocks[8 * deepest - 8 : 8 * deepest]
        adapter = model if model in fleet.adapters else None
        sharers = self._ledger.sharers.get(prefix, 0)
        # What is not found somewhere says nothing of that endpoint's other requests.
        case.kind = hash((request.path, model, request.prior))
        holder = None if case.holder is None else fleet.members[case.holder].state.slot
        doubtful = fleet.doubts.of(case.kind, case.now)
        well = not fleet.concerns.unwell and not fleet.concerns.full and case.ceiling == inf
        case.bound = None if case.session is None else self._sessions.get(case.session, case.now)
        home = None if case.bound is None else fleet.members.get(case.bound)
        session_slot = None if home is None else home.state.slot
        ask = Ask(
            request,
            case.now,
            prompt_tokens,
            matched,
            model,
            adapter,
            well,
            sharers,
            case.listed,
            doubtful,
            case.ceiling,
            holder,
            session_slot,
        )
        if self._waiting is None and isinstance(refusal := self._admit(case.priority, ask), Refuse):
            return self._saturated(case, refusal.message, refusal.retry_after_s)
        placement = self._scheduler.schedule(ask, fleet.states)
        if not placement.order:
            message = f"no endpoint of the pool {self.pool.key} is in the request's subset"
            if case.listed is not None:
                message += f" and serves the model {model!r}"
            return self._no_endpoints(case, message, placement.candidates)
        if self.pool.has_fallback and placement.order[0].severity >= DOWN:
            message = f"every endpoint of the pool {self.pool.key} that may serve the request is down"
            return self._no_endpoints(case, message, placement.candidates)
        return self._route(case, ask, placement, blocks, prefix)

    def _route(
        self,
        case: Case,
        ask: Ask,
        placement: Placement,
        blocks: bytes,
        prefix: bytes,
    ) -> Route:
        request, now, stream = case.request, case.now, case.stream
        state = placement.order[0]
        costs = self._settings.costs
        prompt_tokens = ask.prompt_tokens
        matched_tokens = ask.matched.get(state.slot, 0)
        own_tokens = prompt_tokens - matched_tokens
        output = case.output_tokens
        a_step_s = step_s(state, costs)
        predicted_s = prefill_s(state, own_tokens, costs) + a_step_s
        booking = Booking(
            stream,
            own_tokens,
            prompt_tokens + output // 2,
            predicted_s,
            0.0 if request.streaming else output * a_step_s,
            silent=request.unseen,
        )
        tracked = Tracked(
            stream,
            case.model,
            case.arrived_at,
            request.streaming,
            request.unseen,
            0 if request.media_tokens else request.prompt_bytes,
            blocks,
            BLOCK_BYTES / case.averages.bytes_per_token,
            prompt_tokens,
            matched_tokens,
            booking,
            kind=case.kind,
            prior=request.prior,
            prefix=prefix,
            ticket=case.ticket,
        )
        session: SessionResult | None = None
        if case.session is not None:
            session = "new" if case.bound is None else "kept" if case.bound == state.id else "moved"
            self._sessions.put(case.session, state.id, now)
        choice = Choice(
            request.id,
            self.pool.key,
            self._scheduler.profile.name,
            request.model,
            case.rewritten,
            case.priority or 0,
            request.objective,
            tuple([each.id for each in placement.order]),
            predicted_s,
            placement,
            now - case.arrived_at,
            case.queued_behind,
            session,
            case.prior,
        )
        self._decided += 1
        self._decided_at = now
        self._ledger.book(tracked, self._fleet.members[state.id], now)
        stays = self._waiting is not None and self._waiting.may_end(case)
        if self._waiting is not None:
            self._waiting.placed(case, tracked, stays)
        self._scheduler.sent(ask, state)
        if ask.adapter is not None:
            self._fleet.members[state.id].use_adapter(ask.adapter)
        if blocks and not ask.matched:
            state.cold_turn = self._decided
        return Route(stream, choice.chosen, choice.target_model, choice, stays=stays)

    def _saturated(self, case: Case, message: str, retry_after_s: int) -> Reject:
        why = crowding(self._fleet.members.values(), self._settings.admission, case.now)
        return self._reject(case, 429, "saturated", message, retry_after_s, why)

    def _no_endpoints(self, case: Case, message: str, candidates: tuple[Candidate, ...]) -> Reject:
        wait_s = self._settings.no_endpoints_retry_s
        return self._reject(case, 503, "no-endpoints", message, wait_s, candidates)

    def _reject(
        self,
        case: Case,
        status: int,
        reason: Reason,
        message: str,
        retry_after_s: int | None = None,
        candidates: tuple[Candidate, ...] = (),
    ) -> Reject:
        self._refused += 1
        decision = Decision(
            request_id=case.request.id,
            pool=self.pool.key,
            policy=self._scheduler.profile.name,
            at=case.now,
            model=case.request.model,
            target_model=case.rewritten,
            priority=case.priority or 0,
            objective=case.request.objective,
            prompt_tokens=self._ledger.estimator.of(case.model).prompt_tokens(case.request),
            waited_s=case.now - case.arrived_at,
            queued_behind=case.queued_behind,
            prior=case.prior,
            candidates=candidates,
            refused=reason,
        )
        return Reject(case.stream, status, reason, message, retry_after_s, decision)
