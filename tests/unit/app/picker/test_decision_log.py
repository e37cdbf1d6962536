"""The ring of decisions."""

from collections.abc import Callable, Sequence

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.choices import a_choice
from tests.unit.picker.picker_builders import KEY, a_machine, arrives, ends
from tests.unit.scheduling.scheduling_builders import a_scheduler, a_state, an_ask

from headgate.app.picker.decision_log import ANSWER_BYTES, CANDIDATE_BYTES, RECORD_BYTES, DecisionLog
from headgate.app.picker.process import RequestObserver
from headgate.io.extproc.hub import Hub
from headgate.io.web.counts import Counts
from headgate.model.decisions import Candidate, Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId
from headgate.model.requests import Outcome
from headgate.picker.choice import Choice
from headgate.scheduling.placement import Placement


def decision(request_id: str, at: float = 1.0) -> Decision:
    return Decision(request_id=RequestId(request_id), pool=PoolKey("d/p"), policy="x", at=at)


def placed(endpoints: int) -> Placement:
    """A real placement among so many."""
    return a_scheduler().schedule(an_ask(), [a_state(slot) for slot in range(endpoints)])


def test_records_are_found_by_request_and_by_age() -> None:
    log = DecisionLog(lambda at: at + 100.0)
    for number, name in enumerate("abc"):
        log.record(StreamId(number), decision(name, at=number))
    found = log.find(RequestId("b"))
    assert found is not None
    assert (found.decision.request_id, found.wall_time) == ("b", 101.0)
    assert [record.decision.request_id for record in log.last(2)] == ["c", "b"]
    assert log.last(0) == log.last(-1) == []
    assert log.find(RequestId("nobody")) is None


def test_a_request_id_that_comes_again_finds_the_newest() -> None:
    log = DecisionLog(float, capacity=2)
    log.record(StreamId(1), decision("a", 1.0))
    log.record(StreamId(2), decision("a", 2.0))
    log.record(StreamId(3), decision("b", 3.0))
    found = log.find(RequestId("a"))
    assert found is not None
    assert found.wall_time == 2.0


def test_the_oldest_makes_room() -> None:
    log = DecisionLog(float, capacity=2)
    for number, name in enumerate("abc"):
        log.record(StreamId(number), decision(name))
    assert log.find(RequestId("a")) is None
    log.conclude(StreamId(0), Outcome(ending="complete"))
    assert len(log.last(10)) == 2


@pytest.mark.parametrize("kept", [decision("a"), a_choice("a", "d/p")])
def test_an_outcome_is_attached(kept: Choice | Decision) -> None:
    log = DecisionLog(float)
    log.record(StreamId(1), kept)
    assert log.last(1)[0].outcome is None
    log.conclude(StreamId(1), Outcome(ending="failed", status=502))
    assert log.last(1)[0].outcome == Outcome(ending="failed", status=502)


def test_a_choice_is_written_when_it_is_read() -> None:
    asked: list[float] = []

    def wall_time(at: float) -> float:
        asked.append(at)
        return 2 * at

    log = DecisionLog(wall_time)
    choice = a_choice("a", placement=placed(2))
    log.record(StreamId(1), choice)
    assert asked == []
    found = log.find(RequestId("a"))
    assert found is not None
    assert (found.decision, found.wall_time, asked) == (choice.written(), 20.0, [10.0])
    assert [one.endpoint for one in found.decision.candidates] == ["10.0.0.1:8000", "10.0.0.2:8000"]
    assert log.last(1) == [found]


def refused(request_id: str, endpoints: int = 2) -> Decision:
    candidates = tuple(Candidate(endpoint=EndpointId(f"e{each}")) for each in range(endpoints))
    return Decision(
        request_id=RequestId(request_id), pool=PoolKey("d/p"), policy="x", at=1.0, candidates=candidates
    )


def routed(request_id: str) -> Choice:
    return a_choice(request_id, placement=placed(2))


@pytest.mark.parametrize("makes", [(refused, refused), (routed, routed), (routed, refused)])
def test_large_pools_leave_fewer_records(makes: Sequence[Callable[[str], Choice | Decision]]) -> None:
    log = DecisionLog(float, room_bytes=2 * RECORD_BYTES + 5 * CANDIDATE_BYTES)
    for number in range(8):
        log.record(StreamId(number), makes[number % 2](str(number)))
        assert len(log.last(10)) == min(2, number + 1)
    assert [record.decision.request_id for record in log.last(10)] == ["7", "6"]


def test_a_request_that_outlives_its_record_runs_until_it_is_concluded() -> None:
    counts = Counts(lambda pool, name: True, lambda pool, name: True)
    listener = RequestObserver(DecisionLog(float, capacity=2), counts)
    for stream in range(5):
        listener.decided(StreamId(stream), arrives(stream).request, a_choice(model="m"), 0.0)
    listener.decided(StreamId(9), arrives(9).request, decision("refused"), 0.0)
    (series,) = [each for (_, model, _), each in counts.series.items() if model == "m"]
    assert series.running == 5
    for stream in (0, 0, 4, 9, 77):
        listener.concluded(StreamId(stream), Outcome("complete", 200))
    assert series.running == 3
    for stream in (1, 2, 3):
        listener.concluded(StreamId(stream), Outcome("lost"))
    assert series.running == 0


async def test_no_request_of_a_removed_pool_is_counted_for_ever() -> None:
    counts = Counts(lambda pool, name: True, lambda pool, name: True)
    hub = Hub(RequestObserver(DecisionLog(float), counts), lambda: 1.0)
    hub.add_pool(KEY, a_machine("ab"))
    for stream in range(4):
        hub.tell(KEY, arrives(stream, model="m"))
    (series,) = counts.series.values()
    assert series.running == 4
    hub.tell(KEY, ends(0))
    hub.remove_pool(KEY)
    assert series.running == 0
    hub.add_pool(KEY, a_machine("ab"))
    hub.tell(KEY, ends(1))
    assert series.running == 0
    hub.remove_pool(KEY)


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([0, 10, 5000])), max_size=40))
def test_what_is_kept_is_bounded_by_bytes(requests: list[tuple[int, int]]) -> None:
    log = DecisionLog(float, room_bytes=40_000)
    for number, (name, length) in enumerate(requests):
        kept = Decision(
            request_id=RequestId(str(name)), pool=PoolKey("d/p"), policy="x", at=1.0, model="m" * length
        )
        log.record(StreamId(number), kept)
        texts = sum(len(record.decision.model or "") for record in log.last(100))
        assert texts <= 10_000
        assert log.find(RequestId(str(name))) is not None


def test_an_answer_of_records_of_a_large_pool_is_shorter() -> None:
    log = DecisionLog(float)
    endpoints = ANSWER_BYTES // CANDIDATE_BYTES // 3
    for number in range(5):
        log.record(StreamId(number), refused(str(number), endpoints))
    assert [record.decision.request_id for record in log.last(5)] == ["4", "3"]
    log.record(StreamId(9), refused("9", 4 * endpoints))
    assert [record.decision.request_id for record in log.last(5)] == ["9"]
