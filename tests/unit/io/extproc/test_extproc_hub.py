"""The hub between streams, machines, timers and the access log, with a scripted machine."""

import asyncio
from collections.abc import Callable

import pytest
from tests.choices import a_choice

from headgate.io.extproc.hub import Hub, Link
from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId
from headgate.model.requests import LOST_PEER, InferenceRequest, Outcome
from headgate.picker.actions import Action, Conclude, Evict, ListModels, Reject, Relist, Route, WakeAt
from headgate.picker.choice import Choice
from headgate.picker.events import (
    Event,
    FirstToken,
    PoolRemoved,
    RequestArrived,
    RequestEnded,
    Woken,
)

POOL = PoolKey("default/p")
LINK = 1
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
        self.actions: list[Route | Reject | Evict | ListModels] = []
        self.refused: list[tuple[StreamId, PoolKey, RequestId]] = []
        self.waits = 0

    def act(self, action: Route | Reject | Evict | ListModels) -> None:
        self.actions.append(action)

    def wait(self, stream: StreamId) -> None:
        assert not self.actions
        self.waits += 1

    def unserved(self, stream: StreamId, pool: PoolKey, request_id: RequestId) -> None:
        self.refused.append((stream, pool, request_id))


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
    return Hub(notes, clock, lost_after_s=50, silence_s=5)


def route(stream: StreamId) -> Route:
    return Route(stream, (EndpointId("10.0.0.1:80"),), None, a_choice())


def test_a_pick_reaches_its_stream_and_the_listener(hub: Hub, notes: Notes) -> None:
    hub.add_pool(
        POOL, Script(lambda event: [route(event.stream)] if isinstance(event, RequestArrived) else [])
    )
    stream = Stream()
    number = hub.enter(stream, POOL)
    hub.tell(POOL, RequestArrived(number, REQUEST))
    assert stream.actions == [route(number)]
    assert notes.decided_streams == [number]
    assert stream.waits == 0


def test_one_stream_may_be_answered_by_anothers_event(hub: Hub, notes: Notes) -> None:
    waiting, other = Stream(), Stream()
    first, second = hub.enter(waiting, POOL), hub.enter(other, POOL)
    script = Script(lambda event: [route(first)] if isinstance(event, RequestEnded) else [])
    hub.add_pool(POOL, script)
    hub.tell(POOL, RequestArrived(first, REQUEST))
    assert waiting.actions == []
    assert (waiting.waits, notes.decided_streams) == (1, [])
    hub.tell(POOL, RequestEnded(second, "complete"))
    assert waiting.actions == [route(first)]
    assert notes.decided_streams == [first]
    hub.forget(first)
    hub.tell(POOL, RequestEnded(second, "complete"))
    assert len(waiting.actions) == 1


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
    hub.leave(number, POOL, LINK)
    hub.forget(number)
    return script, number


def test_the_access_log_ends_a_stream_that_was_left_once(hub: Hub) -> None:
    script, number = leave(hub)
    for stream in (StreamId(999), number, number):
        hub.logged(RequestEnded(stream, "complete", 200))
    assert script.events == [RequestEnded(number, "complete", 200)]
    assert hub.left_streams == 0


def test_what_is_never_logged_is_lost_after_a_bound(hub: Hub, clock: Clock) -> None:
    script, number = leave(hub)
    clock.now += 49
    hub.sweep()
    assert script.events == []
    clock.now += 1
    hub.sweep()
    assert script.events == [RequestEnded(number, "lost", details=LOST_PEER)]


def test_a_log_that_went_silent_loses_what_was_left_before(hub: Hub, clock: Clock) -> None:
    hub.log_opened(LINK)
    script, number = leave(hub)
    hub.log_closed(LINK)
    clock.now += 4
    later = hub.enter(Stream(), POOL)
    hub.leave(later, POOL, LINK)
    hub.sweep()
    assert script.events == []
    clock.now += 1
    hub.sweep()
    assert script.events == [RequestEnded(number, "lost", details=LOST_PEER)]
    assert hub.left_streams == 1


def test_a_log_that_came_back_loses_nothing(hub: Hub, clock: Clock) -> None:
    hub.log_opened(LINK)
    script, _ = leave(hub)
    hub.log_closed(LINK)
    hub.log_opened(LINK)
    clock.now += 20
    hub.sweep()
    assert script.events == []


def test_the_log_may_be_quicker_than_the_stream(hub: Hub) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    number = hub.enter(Stream(), POOL)
    hub.logged(RequestEnded(number, "aborted", 200))
    hub.leave(number, POOL, LINK)
    hub.forget(number)
    assert script.events == [RequestEnded(number, "aborted", 200)]
    assert hub.left_streams == 0


def left_by(hub: Hub, link: Link) -> StreamId:
    number = hub.enter(Stream(), POOL)
    hub.leave(number, POOL, link)
    hub.forget(number)
    return number


def lost(script: Script) -> list[StreamId]:
    return [each.stream for each in script.events if isinstance(each, RequestEnded)]


def test_what_was_left_ends_with_its_node_while_another_one_goes_on(hub: Hub, clock: Clock) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    for link, node in ((1, "a@10.0.0.1"), (2, "a@10.0.0.1"), (3, "b@10.0.0.2")):
        hub.log_opened(link)
        hub.log_node(link, node)
    first, second, other = (left_by(hub, link) for link in (1, 2, 3))
    hub.log_closed(1)
    hub.link_closed(1)
    clock.now += 20
    hub.sweep()
    assert lost(script) == []  # its node has another connection
    hub.log_closed(2)
    hub.link_closed(2)
    hub.sweep()
    assert lost(script) == []  # it may come back
    clock.now += 5
    hub.sweep()
    assert lost(script) == [first, second]
    hub.logged(RequestEnded(other, "complete", 200))
    assert lost(script) == [first, second, other]


def test_a_node_that_comes_back_by_another_connection_loses_nothing(hub: Hub, clock: Clock) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    for link, node in ((1, "a@10.0.0.1"), (2, "b@10.0.0.2")):
        hub.log_opened(link)
        hub.log_node(link, node)
    number = left_by(hub, 1)
    hub.log_closed(1)
    hub.link_closed(1)
    clock.now += 4
    hub.sweep()
    hub.log_opened(3)
    hub.log_node(3, "a@10.0.0.1")
    clock.now += 20
    hub.sweep()
    assert lost(script) == []
    hub.logged(RequestEnded(number, "complete", 200))
    assert script.events[-1] == RequestEnded(number, "complete", 200)


def test_a_connection_that_never_told_its_node_ends_alone(hub: Hub, clock: Clock) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    hub.log_opened(2)
    hub.log_node(2, "b@10.0.0.2")
    number = left_by(hub, 1)
    hub.link_closed(1)
    clock.now += 5
    hub.sweep()
    assert lost(script) == [number]


def test_where_connections_are_not_seen_the_host_tells_the_node(hub: Hub, clock: Clock) -> None:
    script = Script()
    hub.add_pool(POOL, script)
    for link, node in (("ipv4:10.0.0.1:1", "a@ipv4:10.0.0.1"), ("ipv4:10.0.0.2:1", "b@ipv4:10.0.0.2")):
        hub.log_opened(link)
        hub.log_node(link, node)
    number, _ = left_by(hub, "ipv4:10.0.0.1:2"), left_by(hub, "ipv4:10.0.0.2:2")
    hub.log_closed("ipv4:10.0.0.1:1")
    for _ in range(3):
        hub.sweep()
        clock.now += 3
    assert lost(script) == [number]


def test_nothing_is_kept_of_connections_that_are_gone(hub: Hub, clock: Clock) -> None:
    hub.add_pool(POOL, Script())
    for link in range(1, 100):
        hub.log_opened(link)
        hub.log_node(link, f"node-{link}@10.0.0.1")
        left_by(hub, link)
        hub.log_closed(link)
        hub.link_closed(link)
    clock.now += 10
    hub.sweep()
    hub.sweep()
    assert not (hub.left_streams or hub._nodes or hub._quiet or hub._gone or hub._logs)


def test_a_request_for_a_pool_that_is_gone_is_refused(hub: Hub) -> None:
    stream = Stream()
    hub.add_pool(POOL, Script())
    number = hub.enter(stream, POOL)
    hub.remove_pool(POOL)
    hub.tell(POOL, RequestArrived(number, REQUEST))
    assert stream.refused == [(number, POOL, "r")]


def test_a_request_that_waits_is_refused_when_its_pool_goes(hub: Hub) -> None:
    waiting, gone, answered = Stream(), Stream(), Stream()
    number = StreamId(0)

    def reply(event: Event) -> list[Action]:
        if isinstance(event, RequestArrived) and event.stream == number:
            return [Route(number, (EndpointId("10.0.0.1:80"),), None, a_choice("r", POOL, ()))]
        return []

    hub.add_pool(POOL, Script(reply))
    number = hub.enter(answered, POOL)
    hub.tell(POOL, RequestArrived(number, REQUEST))
    first = hub.enter(waiting, POOL)
    hub.tell(POOL, RequestArrived(first, REQUEST))
    second = hub.enter(gone, POOL)
    hub.tell(POOL, RequestArrived(second, REQUEST))
    hub.forget(second)
    hub.remove_pool(POOL)
    assert waiting.refused == [(first, POOL, "r")]
    assert gone.refused == answered.refused == []
    assert len(answered.actions) == 1


def test_the_time_of_events_is_told_while_a_request_waits(hub: Hub, clock: Clock) -> None:
    cycles: list[float] = []
    hub.cycled = cycles.append
    waiting, quick = hub.enter(Stream(), POOL), hub.enter(Stream(), POOL)

    def reply(event: Event) -> list[Action]:
        clock.now += 0.25
        return [route(event.stream)] if isinstance(event, RequestArrived) and event.stream == quick else []

    hub.add_pool(POOL, Script(reply))
    hub.tell(POOL, RequestArrived(quick, REQUEST))
    hub.tell(POOL, RequestArrived(waiting, REQUEST))
    assert cycles == []
    hub.tell(POOL, Woken())
    hub.forget(waiting)
    hub.tell(POOL, Woken())
    assert cycles == [0.25]


def test_a_fault_in_one_answer_does_not_keep_back_the_others(hub: Hub) -> None:
    class Faulty(Stream):
        def act(self, action: Route | Reject | Evict | ListModels) -> None:
            raise RuntimeError("a fault")

    good, bad = Stream(), Faulty()
    streams: list[StreamId] = []

    def reply(event: Event) -> list[Action]:
        chosen = (EndpointId("10.0.0.1:80"),)
        return [Route(each, chosen, None, a_choice("r", POOL, chosen)) for each in streams]

    hub.add_pool(POOL, Script(reply))
    streams += [hub.enter(bad, POOL), hub.enter(good, POOL)]
    with pytest.raises(RuntimeError, match="a fault"):
        hub.tell(POOL, Woken())
    assert len(good.actions) == 1


def test_a_stream_whose_end_was_not_handled_yet_counts_as_open(hub: Hub) -> None:
    stream = hub.enter(Stream(), POOL)
    hub.count_streams = lambda: 0  # its wire has closed it, and the end is on its way here
    assert hub.open_streams == 1
    hub.forget(stream)
    assert hub.open_streams == 0
