"""A machine whose batch requests may be ended: when, which, how often, and what becomes of their places."""

from collections.abc import Sequence

from tests.unit.picker.picker_builders import a_pool, arrives, ends, scrape, starts, token
from tests.unit.picker.test_waiting import Rig

from headgate.flow.settings import BandSettings, FlowSettings
from headgate.model.ids import StreamId
from headgate.picker.actions import Evict
from headgate.picker.events import RequestArrived, RequestEnded

EVICT = FlowSettings(bands={-10: BandSettings(evict=True)})


def batch(stream: int, prompt: str = "", **fields: object) -> RequestArrived:
    return arrives(
        stream, prompt, **{"streaming": False, "objective": "batch", "body_bytes": stream} | fields
    )


def filled(flow: FlowSettings = EVICT, seats: int = 2, **fields: object) -> Rig:
    """One endpoint whose seats batch requests have, streams 1, 2 …, a tenth of a second apart."""
    rig = Rig(flow, a_pool("a", objectives={"batch": -10, "low": -20}), seats=seats)
    for stream in range(1, seats + 1):
        assert rig.tell(batch(stream, "", **fields), 0.1) == [stream]
    return rig


def asked(rig: Rig) -> Sequence[int]:
    """Whom the machine wants to end, by its last answer."""
    return [action.stream for action in rig.actions if isinstance(action, Evict)]


def computes(rig: Rig, seconds: int) -> None:
    """The engine goes on for so long."""
    for second in range(1, seconds + 1):
        rig.tell(scrape("a", 0, 1, progress=float(second)), 1.0)


def evicted(stream: int) -> RequestEnded:
    return RequestEnded(StreamId(stream), "evicted", 429)


def test_the_youngest_is_ended_and_its_place_goes_to_the_more_important_one() -> None:
    rig = filled()
    assert rig.route(2).stays
    assert rig.tell(arrives(3), 0.1) == []
    assert asked(rig) == [2]
    assert rig.tell(evicted(2)) == [3]
    assert not rig.route(3).stays
    [outcome] = [action.outcome for action in rig.actions if hasattr(action, "outcome")]
    assert (outcome.ending, outcome.status) == ("evicted", 429)
    queue = rig.machine.view(rig.now).queue
    assert queue is not None and queue.evicted == {-10: 1}


def test_without_the_setting_nobody_is_ended() -> None:
    rig = filled(FlowSettings())
    assert not rig.route(2).stays
    rig.tell(arrives(3))
    rig.tell(arrives(4))
    assert asked(rig) == []


def test_one_is_ended_for_each_that_waits_and_none_twice() -> None:
    rig = filled(seats=3)
    rig.tell(arrives(4))
    assert asked(rig) == [3]
    rig.tell(arrives(5))
    assert asked(rig) == [2]
    rig.tell(starts(9))
    assert asked(rig) == []


def test_equals_and_less_important_ones_wait() -> None:
    rig = filled()
    rig.tell(batch(3))
    rig.tell(arrives(4, objective="low"))
    assert asked(rig) == []


def test_streamed_ones_those_that_have_begun_and_unknown_ones_are_left_alone() -> None:
    for fields in ({"streaming": True}, {"unseen": True}, {"api": "other"}):
        rig = filled(**fields)
        assert not rig.route(2).stays
        rig.tell(arrives(3))
        assert asked(rig) == []
    rig = filled()
    rig.tell(starts(2))
    rig.tell(arrives(3))
    assert asked(rig) == [1]


def test_the_same_request_sent_again_is_not_ended_again_within_an_hour() -> None:
    rig = filled()
    rig.tell(arrives(3))
    rig.tell(evicted(2))
    rig.tell(ends(3))
    rig.tell(batch(12, body_bytes=2), 0.1)
    assert not rig.route(12).stays
    rig.tell(arrives(13))
    assert asked(rig) == [1]
    rig.tell(ends(12), 3700.0)
    rig.tell(evicted(1))
    rig.tell(batch(22, body_bytes=2))
    assert rig.route(22).stays


def test_no_more_work_is_lost_than_a_part_of_what_is_done() -> None:
    """Ten seconds may be lost before anything has ended."""
    rig = filled()
    computes(rig, 11)
    rig.tell(arrives(3))
    assert asked(rig) == []
    rig = filled()
    computes(rig, 9)
    rig.tell(arrives(3))
    assert asked(rig) == [2]
    rig.tell(evicted(2), 0.1)
    rig.tell(arrives(4))
    assert asked(rig) == [], "the rest is not enough for the other"


def test_one_that_was_answered_meanwhile_leaves_its_place_all_the_same() -> None:
    rig = filled()
    rig.tell(arrives(3), 0.1)
    assert asked(rig) == [2]
    assert rig.tell(ends(2)) == [3]
    queue = rig.machine.view(rig.now).queue
    assert queue is not None and queue.evicted == {}


def test_the_client_of_one_that_is_being_ended_may_go() -> None:
    rig = filled()
    rig.tell(arrives(3), 0.1)
    assert rig.tell(RequestEnded(StreamId(2), "aborted")) == [3]
    rig.tell(evicted(2))
    rig.tell(token(3))
    assert rig.machine.view(rig.now).in_flight == 2


def test_while_it_is_allowed_nobody_else_waits_in_an_engine() -> None:
    rig = Rig(EVICT, a_pool("a"))
    assert [rig.tell(arrives(stream)) for stream in (1, 2, 3)] == [[1], [2], []]
