"""The decision header's text."""

import pytest

from headgate.model.decisions import Candidate, Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.scheduling.describe import describe


def a_decision(**fields: object) -> Decision:
    values: dict[str, object] = {
        "request_id": RequestId("r"),
        "pool": PoolKey("d/p"),
        "policy": "default",
        "at": 0.0,
    }
    return Decision(**(values | fields))  # type: ignore[arg-type]


A, B, C = EndpointId("a:1"), EndpointId("b:1"), EndpointId("c:1")
CHOICE = a_decision(
    prompt_tokens=640,
    chosen=(B, A, C),
    candidates=(
        Candidate(endpoint=A, cost=0.5),
        Candidate(endpoint=B, cost=0.41, matched_tokens=512, in_flight=2),
        Candidate(endpoint=C, filtered_by="healthy"),
    ),
)


@pytest.mark.parametrize(
    ("decision", "text"),
    [
        (CHOICE, "default; cost=0.41 of 2; prefix=512/640; in-flight=2; filtered=1; fallbacks=2"),
        (a_decision(refused="saturated", priority=-1), "default; refused=saturated; priority=-1"),
        (a_decision(refused="saturated", waited_s=1.5), "default; refused=saturated; waited=1.500s"),
        (a_decision(policy="böse\r\nx"), "b?se??x"),
        (a_decision(policy="x" * 300), "x" * 200),
    ],
)
def test_describe(decision: Decision, text: str) -> None:
    assert describe(decision) == text
