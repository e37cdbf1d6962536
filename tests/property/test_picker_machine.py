"""Whatever happens in whatever order: every request is answered once, and the books balance."""

import random
import sys

import hypothesis.strategies as st
from hypothesis import event as hypothesis_event
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace
from tests.unit.picker.picker_builders import (
    KEY,
    address,
    an_endpoint,
    arrives,
    booking,
    ends,
    no_scrape,
    scrape,
    starts,
    token,
)

from headgate.flow.fairness.round_robin import RoundRobin
from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.settings import BandSettings, FlowSettings, Quota, Share
from headgate.model.decisions import Decision
from headgate.model.endpoints import ModelRule, Pool, TargetModel
from headgate.model.flow_rules import FlowRules
from headgate.model.ids import EndpointId, StreamId
from headgate.model.objects.flow import BandSpec, DetectorSpec, QuotaSpec, ShareSpec
from headgate.model.requests import Usage
from headgate.picker.actions import Action, Conclude, Evict, ListModels, Reject, Route, WakeAt
from headgate.picker.choice import Choice
from headgate.picker.events import (
    AnswerStored,
    Event,
    PoolChanged,
    ProfileChanged,
    RequestArrived,
    RequestEnded,
    StageEnded,
    Woken,
)
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Role
from headgate.scheduling.profiles import PROFILES

NAMES = "abcde"
names = st.sampled_from(NAMES)
policies = st.sampled_from(["default", "default", *sorted(PROFILES)])
FLOWS = (
    None,
    FlowSettings(),
    FlowSettings(
        other_bands=BandSettings(ordering=EarliestDeadline(), ttl_s=3.0, most_requests=4),
        bands={-1: BandSettings(fairness=RoundRobin(), ttl_s=3.0, evict=True)},
        other_shares=Share(quota=Quota(tokens_per_minute=60_000)),
        most_requests=6,
        ageing_s=1.0,
        ageing_every=2,
    ),
)
RULES = (
    ModelRule("m", "default/m", 0, (TargetModel("m", 3), TargetModel("m-lora", 1))),
    ModelRule("cheap", "default/cheap", -1, (TargetModel("m"),)),
)


POLICIES: tuple[FlowRules | None, ...] = (
    None,
    FlowRules("d/few", detector=DetectorSpec("Concurrency", max_concurrency=2)),
    FlowRules("d/used", detector=DetectorSpec("Utilization", queue_depth=4)),
    FlowRules(
        "d/fair",
        other_shares=ShareSpec(weight=2.0, quota=QuotaSpec(6000.0, 300.0), max_queued=2),
        bands={-1: BandSpec("1s", 1, 1000, "RoundRobin", "EarliestDeadline", evict=True)},
    ),
)


def told(actions: list[Action]) -> list[object]:
    """Actions as values that can be compared; decisions of routes are written out."""
    return [
        replace(each, decision=each.decision.written()) if isinstance(each, Route) else each
        for each in actions
    ]


class Machine(RuleBasedStateMachine):
    """A pool under random traffic, scrapes, failures and membership changes."""

    @initialize(
        policy=policies,
        seed=st.integers(0, 2**32),
        picked=st.sets(names),
        flow=st.sampled_from(FLOWS),
        hold_empty_s=st.sampled_from([0.0, 2.0]),
    )
    def start(
        self, policy: str, seed: int, picked: set[str], flow: FlowSettings | None, hold_empty_s: float
    ) -> None:
        settings = MachineSettings(story=50, flow=flow, hold_empty_s=hold_empty_s)
        self.again = PoolMachine(KEY, PROFILES[policy], settings, random.Random(seed))
        """Will be told the same story when it is over."""
        self.events_alone = sys.maxsize
        """So many of its events came before something that was no event."""
        self.story: list[tuple[float, Event, list[Action]]] = []
        self.machine = PoolMachine(KEY, PROFILES[policy], settings, random.Random(seed))
        self.flow = flow
        self.waiting: dict[int, float] = {}
        """Streams without an answer, and when they arrived."""
        self.now = 0.0
        self.members: frozenset[EndpointId] = frozenset()
        self.next_stream = 0
        self.open: set[int] = set()
        self.ended: list[int] = []
        self.wake_at: float | None = None
        self.asked_back: dict[int, bool] = {}
        """Streams that may be asked for back, and whether they were."""
        self.records: list[tuple[Choice, Decision]] = []
        self.change_pool(picked, "pod")

    def feed(self, event: Event) -> None:
        answered: list[int] = []
        if isinstance(event, RequestArrived):
            self.waiting[event.stream] = self.now
        elif isinstance(event, RequestEnded):
            self.waiting.pop(event.stream, None)
        actions = self.machine.handle(event, self.now)
        self.story.append((self.now, event, actions))
        for action in actions:
            match action:
                case Route(stream, endpoints):
                    assert 1 <= len(endpoints) <= 4
                    assert len(set(endpoints)) == len(endpoints)
                    assert set(endpoints) <= self.members
                    assert action.decision.chosen == endpoints
                    assert {one.endpoint for one in action.decision.candidates} == self.members
                    self.open.add(stream)
                    if action.stays:
                        self.asked_back[stream] = False
                    answered.append(stream)
                    assert action.decision.waited_s == self.now - self.waiting[stream]
                    self.records.append((action.decision, action.decision.written()))
                case Reject(stream) | ListModels(stream):
                    answered.append(stream)
                case Conclude(stream, outcome):
                    assert stream in self.open
                    assert outcome.duration_s is not None
                    assert outcome.duration_s >= 0
                    self.open.remove(stream)
                    self.ended.append(stream)
                case Evict(stream):
                    assert self.asked_back[stream] is False
                    assert stream in self.open
                    self.asked_back[stream] = True
                    hypothesis_event("evicts")
                case WakeAt(at):
                    assert self.now < at <= self.now + 0.2
                    self.wake_at = at
        self.machine.check()
        for each in answered:
            del self.waiting[each]  # once, and only if it was asked
        if self.flow is None:
            assert not self.waiting
        queue = self.machine.view(self.now).queue
        assert (0 if queue is None else queue.queued) == len(self.waiting)
        if self.waiting:
            longest_s = 60.0 if self.flow is FLOWS[1] else 3.0
            assert self.now - min(self.waiting.values()) < longest_s
            hypothesis_event("waits")

    @rule(
        prompt=st.text("ab", max_size=12),
        model=st.sampled_from(["m", "m", "cheap", "unknown", None]),
        streaming=st.booleans(),
        subset=st.none() | st.lists(names, max_size=3),
        slo=st.none() | st.floats(1.0, 5000.0),
        who=st.sampled_from([None, "x", "y"]),
        api=st.sampled_from(["chat", "chat", "chat", "models"]),
        session=st.sampled_from([None, "s", "t"]),
        prior=st.sampled_from([None, None, "p", "q"]),
    )
    def arrive(
        self,
        prompt: str,
        model: str | None,
        streaming: bool,
        subset: list[str] | None,
        slo: float | None,
        who: str | None,
        api: str,
        session: str | None,
        prior: str | None,
    ) -> None:
        self.next_stream += 1
        allowed = None if subset is None else tuple(address(name) for name in subset)
        self.feed(
            arrives(
                self.next_stream,
                prompt,
                model=model,
                streaming=streaming,
                subset=allowed,
                api=api,
                slo_ttft_ms=slo,
                fairness_id=who,
                session=session,
                prior=prior,
            )
        )

    @rule(n=st.integers(0), prior=st.sampled_from("pq"), served=st.none() | names)
    def store(self, n: int, prior: str, served: str | None) -> None:
        self.feed(AnswerStored(StreamId(self.some_stream(n)), prior, address(served) if served else None))

    @rule(n=st.integers(0), status=st.sampled_from([200, 200, 429, 500, 503]), local=st.booleans())
    def respond(self, n: int, status: int, local: bool) -> None:
        self.feed(starts(self.some_stream(n), status, local=local and status >= 500))

    @rule(n=st.integers(0), served=names)
    def respond_from(self, n: int, served: str) -> None:
        self.feed(starts(self.some_stream(n), 200, served=served))

    @rule(n=st.integers(0))
    def first_token(self, n: int) -> None:
        self.feed(token(self.some_stream(n)))

    @rule(
        n=st.integers(0), ending=st.sampled_from(["complete", "aborted", "failed"]), served=st.none() | names
    )
    def end(self, n: int, ending: str, served: str | None) -> None:
        usage = Usage(100, 10, 50) if ending == "complete" else None
        status = 200 if ending == "complete" else None
        self.feed(ends(self.some_stream(n), ending, status, usage, served))  # type: ignore[arg-type]

    @rule(count=st.integers(2, 5))
    def batch_fills_a_server(self, count: int) -> None:
        """And something more important comes."""
        self.change_pool({"a"}, "pod", POLICIES[-1])
        self.queues("a", 1)
        self.scraped("a", 0, 0, None)
        for number in range(count + 1):
            self.next_stream += 1
            model = "cheap" if number < count else "m"
            self.feed(arrives(self.next_stream, model=model, streaming=False, body_bytes=self.next_stream))

    @rule(n=st.integers(0))
    def evicted(self, n: int) -> None:
        asked = [stream for stream, really in self.asked_back.items() if really and stream in self.open]
        if asked:
            self.feed(RequestEnded(StreamId(asked[n % len(asked)]), "evicted", 429))

    @rule(policy=policies)
    def change_profile(self, policy: str) -> None:
        self.feed(ProfileChanged(PROFILES[policy]))
        assert self.machine.view(self.now).policy == PROFILES[policy].name

    @rule(
        n=st.integers(0),
        member=st.integers(0),
        own=st.integers(0, 500),
        role=st.sampled_from(["prefill", "decode"]),
    )
    def another_stage(self, n: int, member: int, own: int, role: Role) -> None:
        """As a profile with stages will book it; it ends in one of the ways that a request has."""
        ledger, fleet = self.machine._ledger, self.machine._fleet
        tracked = ledger.requests.get(StreamId(self.some_stream(n)))
        if tracked is None or not fleet.members:
            return
        other = list(fleet.members.values())[member % len(fleet.members)]
        if tracked.stream not in other.bookings.held:
            part = booking(tracked.stream, own_tokens=own, context_tokens=own, role=role, silent=True)
            ledger.book_stage(tracked, part, other, self.now)
            self.events_alone = min(self.events_alone, len(self.story))
        self.machine.check()

    @rule(n=st.integers(0), name=names, computed=st.booleans())
    def stage_ends(self, n: int, name: str, computed: bool) -> None:
        self.feed(StageEnded(StreamId(self.some_stream(n)), address(name), computed))

    @rule(
        picked=st.sets(names),
        pod=st.sampled_from(["pod", "pod", "renamed"]),
        policy=st.sampled_from(POLICIES),
    )
    def change_pool(self, picked: set[str], pod: str, policy: FlowRules | None = None) -> None:
        self.members = frozenset(address(name) for name in picked)
        endpoints = tuple(replace(an_endpoint(name), name=f"{pod}-{name}") for name in sorted(picked))
        models = RULES if len(picked) % 2 else ()
        self.feed(PoolChanged(Pool(KEY, endpoints, models=models, flow=policy)))

    @rule(
        name=names, waiting=st.integers(0, 9), running=st.integers(0, 9), progress=st.none() | st.floats(0, 9)
    )
    def scraped(self, name: str, waiting: int, running: int, progress: float | None) -> None:
        self.feed(
            scrape(name, waiting, running, progress=progress, kv_used=0.5, kv_blocks=30, block_tokens=16)
        )

    @rule(name=names, running=st.integers(1, 2))
    def queues(self, name: str, running: int) -> None:
        for _ in range(2):
            self.feed(scrape(name, 3, running, kv_used=0.5, kv_blocks=30, block_tokens=16))

    @rule(name=names, error=st.sampled_from(["refused", "timeout", "http-404"]))
    def scrape_failed(self, name: str, error: str) -> None:
        self.feed(no_scrape(name, error))

    @rule(passed=st.sampled_from([0.05, 0.3, 1.0, 4.0, 40.0]))
    def time_passes(self, passed: float) -> None:
        self.now += passed
        if self.wake_at is not None and self.wake_at <= self.now:
            self.wake_at = None
            self.feed(Woken())

    def some_stream(self, n: int) -> int:
        known = [*sorted(self.open), *sorted(self.waiting), *self.ended[-2:], 999_999]
        return known[n % len(known)]

    @invariant()
    def the_books_balance(self) -> None:
        if hasattr(self, "machine"):
            view = self.machine.view(self.now)
            assert view.in_flight == len(self.open)
            assert {one.endpoint for one in view.endpoints if not one.leaving} == self.members

    def teardown(self) -> None:
        if not hasattr(self, "machine"):
            return
        for stream in [*sorted(self.waiting), *sorted(self.open)]:
            self.feed(ends(stream))
        for now, event, actions in self.story[: self.events_alone]:
            assert told(self.again.handle(event, now)) == told(actions), "a story replays to the same actions"
        for choice, written in self.records:
            assert choice.written() == written, "a record does not change when endpoints do"
        view = self.machine.view(self.now)
        assert view.in_flight == 0
        assert view.queue is None or view.queue.queued == 0
        for one in view.endpoints:
            assert not one.leaving
            assert (
                self.machine._fleet.index.expected(self.machine._fleet.members[one.endpoint].state.slot) == 0
            )
            assert (one.in_flight, one.pending_tokens, one.context_tokens) == (0, 0, 0)


Machine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestMachine = Machine.TestCase
