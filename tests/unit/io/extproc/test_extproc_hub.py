"""The hub between streams, machines, timers and the access log, with a scripted machine."""

import asyncio
from collections.abc import Callable

import pytest
from tests.choices import a_choice

from headgate.io.extproc.hub import Hub
from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.actions import Action, Conclude, ListModels, Reject, Relist, Route, WakeAt
from headgate.picker.choice import Choice
from headgate.picker.events import (
    Event,
    FirstToken,
    PoolRemoved,
    RequestArrived,
    RequestEnded,
    ResponseStarted,
    Woken,
)
from headgate.wire.accesslog import Entry
from headgate.wire.said import Arrived, FirstBytes, Over, Started

POOL = PoolKey("default/p")
REQUEST = InferenceRequest(id=RequestId("r"), api="other")
DECISION = Decision(request_id=RequestId("r"), pool=POOL, policy="x", at=0.0)


class Script:
    """Keeps the events; answers what `reply` makes of each."""

    def __init__(self, reply: Callable[[Event], list[Action]] = lambda event: []) -> None:
        self.events: list[Event] = []
        self.reply = reply

    def handle(self, event: Event, now: float) -> list[Action]:
        self.events.append(event)
        return self.reply(event)


class Notes:
    def __init__(self) -> None:
        self.decided_streams: list[StreamId] = []
        self.outcomes: list[Outcome] = []

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        assert request is REQUEST
        assert took_s >= 0
        self.decided_streams.append(stream)

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        self.outcomes.append(outcome)


class Stream:
    def __init__(self) -> None:
        self.actions: list[Route | Reject | ListModels] = []

    def act(self, action: Route | Reject | ListModels) -> None:
        self.actions.append(action)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def hub(clock: Clock, notes: Notes) -> Hub:
    return Hub("n", notes, clock, lost_after_s=50, silence_s=5)


def route(stream: StreamId) -> Route:
    return Route(stream, (EndpointId("10.0.0.1:80"),), None, a_choice())


def test_a_pick_reaches_its_stream_and_the_listener(hub: Hub, notes: Notes) -> None:
    hub.add_pool(
        POOL, Script(lambda event: [route(event.stream)] if isinstance(event, RequestArrived) else [])
    )
    stream = Stream()
    number = hub.enter(stream, POOL)
    hub.said(number, POOL, Arrived(REQUEST))
    assert stream.actions == [route(number)]
    assert notes.decided_streams == [number]


def test_one_stream_may_be_answered_by_anothers_event(hub: Hub) -> None:
    waiting, other = Stream(), Stream()
    first, second = hub.enter(waiting, POOL), hub.enter(other, POOL)
    script = Script(lambda event: [route(first)] if isinstance(event, RequestEnded) else [])
    hub.add_pool(POOL, script)
    hub.said(first, POOL, Arrived(REQUEST))
    assert waiting.actions == []
    hub.said(second, POOL, Over("complete"))
    assert waiting.actions == [route(first)]
    hub.forget(first)
    hub.said(second, POOL, Over("complete"))
    assert len(waiting.actions) == 1


def test_what_is_said_becomes_events(hub: Hub) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    number = hub.enter(Stream(), POOL)
    for said in (Arrived(REQUEST), Started(200, None, True), FirstBytes(), Over("failed", 502)):
        hub.said(number, POOL, said)
    assert script.events == [
        RequestArrived(number, REQUEST),
        ResponseStarted(number, 200, None, True),
        FirstToken(number),
        RequestEnded(number, "failed", 502),
    ]


def test_outcomes_are_passed_on(hub: Hub, notes: Notes) -> None:
    outcome = Outcome(ending="complete", status=200)
    hub.add_pool(POOL, Script(lambda event: [Conclude(StreamId(1), outcome)]))
    hub.tell(POOL, Woken())
    assert notes.outcomes == [outcome]


def test_pools(hub: Hub) -> None:
    assert hub.unnamed() == ""
    hub.add_pool(POOL, Script())
    assert (hub.unnamed(), hub.serves(POOL)) == (POOL, True)
    hub.add_pool(PoolKey("default/q"), Script())
    assert hub.unnamed() == ""
    hub.default = POOL
    assert hub.unnamed() == POOL
    hub.remove_pool(POOL)
    assert not hub.serves(POOL)
    hub.tell(POOL, Woken())


async def test_a_machine_is_woken_once_at_its_last_wish(hub: Hub, clock: Clock) -> None:
    script = Script(lambda event: [] if isinstance(event, Woken) else [WakeAt(clock.now + 0.02)])
    hub.add_pool(POOL, script)
    hub.tell(POOL, FirstToken(StreamId(1)))
    hub.tell(POOL, FirstToken(StreamId(2)))
    await asyncio.sleep(0.08)
    assert script.events[2:] == [Woken()]


async def test_a_removed_pool_is_not_woken(hub: Hub, clock: Clock) -> None:
    script = Script(lambda event: [WakeAt(clock.now)])
    hub.add_pool(POOL, script)
    hub.tell(POOL, Woken())
    hub.remove_pool(POOL)
    await asyncio.sleep(0.02)
    assert script.events == [Woken(), PoolRemoved()]


def test_the_requests_of_a_removed_pool_are_concluded(hub: Hub, notes: Notes) -> None:
    lost = Outcome(ending="lost")
    script = Script(lambda event: [Conclude(StreamId(1), lost)] if event == PoolRemoved() else [])
    hub.add_pool(POOL, script)
    hub.remove_pool(POOL)
    hub.tell(POOL, RequestEnded(StreamId(1), "complete"))
    assert (notes.outcomes, script.events) == ([lost], [PoolRemoved()])


def test_a_machine_may_ask_for_the_lists_of_its_pool(hub: Hub) -> None:
    asked: list[PoolKey] = []
    hub.add_pool(POOL, Script(lambda event: [Relist()]))
    hub.tell(POOL, Woken())
    hub.relist = asked.append
    hub.tell(POOL, Woken())
    assert asked == [POOL]


def leave(hub: Hub) -> tuple[Script, StreamId]:
    script = Script()
    hub.add_pool(POOL, script)
    number = hub.enter(Stream(), POOL)
    hub.leave(number, POOL)
    hub.forget(number)
    return script, number


def test_the_access_log_ends_a_stream_that_was_left_once(hub: Hub) -> None:
    script, number = leave(hub)
    over = Over("complete", 200)
    for stream in (f"other-{number}", "n-999", "n-x", "", f"n-{number}", f"n-{number}"):
        hub.logged(Entry(stream, over))
    assert script.events == [RequestEnded(number, "complete", 200)]
    assert hub.left_streams == 0


def test_what_is_never_logged_is_lost_after_a_bound(hub: Hub, clock: Clock) -> None:
    script, number = leave(hub)
    clock.now += 49
    hub.sweep()
    assert script.events == []
    clock.now += 1
    hub.sweep()
    assert script.events == [RequestEnded(number, "lost")]


def test_a_log_that_went_silent_loses_what_was_left_before(hub: Hub, clock: Clock) -> None:
    hub.log_opened()
    script, number = leave(hub)
    hub.log_closed()
    clock.now += 4
    later = hub.enter(Stream(), POOL)
    hub.leave(later, POOL)
    hub.sweep()
    assert script.events == []
    clock.now += 1
    hub.sweep()
    assert script.events == [RequestEnded(number, "lost")]
    assert hub.left_streams == 1


def test_a_log_that_came_back_loses_nothing(hub: Hub, clock: Clock) -> None:
    hub.log_opened()
    script, _ = leave(hub)
    hub.log_closed()
    hub.log_opened()
    clock.now += 20
    hub.sweep()
    assert script.events == []


def test_the_log_may_be_quicker_than_the_stream(hub: Hub) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    number = hub.enter(Stream(), POOL)
    hub.logged(Entry(f"n-{number}", Over("aborted", 200)))
    hub.leave(number, POOL)
    hub.forget(number)
    assert script.events == [RequestEnded(number, "aborted", 200)]
    assert hub.left_streams == 0
