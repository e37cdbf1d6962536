"""The ring of decisions."""

from headgate.app.decision_log import DecisionLog
from headgate.model.decisions import Candidate, Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId
from headgate.model.requests import Outcome


def decision(request_id: str) -> Decision:
    return Decision(request_id=RequestId(request_id), pool=PoolKey("d/p"), policy="x", at=1.0)


def test_records_are_found_by_request_and_by_age() -> None:
    log = DecisionLog()
    for number, name in enumerate("abc"):
        log.record(StreamId(number), decision(name), wall_time=number)
    found = log.find(RequestId("b"))
    assert found is not None
    assert (found.decision.request_id, found.wall_time) == ("b", 1)
    assert [record.decision.request_id for record in log.last(2)] == ["c", "b"]
    assert log.find(RequestId("nobody")) is None


def test_a_request_id_that_comes_again_finds_the_newest() -> None:
    log = DecisionLog(capacity=2)
    log.record(StreamId(1), decision("a"), 1.0)
    log.record(StreamId(2), decision("a"), 2.0)
    log.record(StreamId(3), decision("b"), 3.0)
    found = log.find(RequestId("a"))
    assert found is not None
    assert found.wall_time == 2.0


def test_the_oldest_makes_room() -> None:
    log = DecisionLog(capacity=2)
    for number, name in enumerate("abc"):
        log.record(StreamId(number), decision(name), 0.0)
    assert log.find(RequestId("a")) is None
    assert log.conclude(StreamId(0), Outcome(ending="complete")) is None
    assert len(log.last(10)) == 2


def test_an_outcome_is_attached() -> None:
    log = DecisionLog()
    log.record(StreamId(1), decision("a"), 1.0)
    assert log.conclude(StreamId(1), Outcome(ending="failed", status=502)) == decision("a")
    assert log.last(1)[0].outcome == Outcome(ending="failed", status=502)


def test_large_pools_leave_fewer_records() -> None:
    log = DecisionLog(candidates=5)
    for number in range(4):
        candidates = tuple(Candidate(endpoint=EndpointId(f"e{each}")) for each in range(2))
        made = Decision(
            request_id=RequestId(str(number)), pool=PoolKey("d/p"), policy="x", at=1.0, candidates=candidates
        )
        log.record(StreamId(number), made, 0.0)
    assert [record.decision.request_id for record in log.last(10)] == ["3", "2"]
