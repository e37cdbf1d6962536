"""What became of a request, in plain words."""

import pytest
from msgspec.structs import replace

from headgate.model.decisions import Decision
from headgate.model.endings import unconnected, why
from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.model.requests import (
    LOST_BY_COUNT,
    LOST_PEER,
    LOST_POOL,
    LOST_TOO_LONG,
    Outcome,
)

A, B = EndpointId("10.0.0.1:1"), EndpointId("10.0.0.2:1")
DECISION = Decision(request_id=RequestId("r"), pool=PoolKey("d/p"), policy="default", at=0.0, chosen=(A, B))
HANG = "suspect: no sign of life for 2.0 s"


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (Outcome("complete", 200, A), ["answered"]),
        (Outcome("complete", 500, A), ["the server answered 500"]),
        (Outcome("failed", 504, details="response_timeout"), ["timeout", "timeouts.request"]),
        (Outcome("failed", 504, details="upstream_per_try_timeout"), ["timeout", "backendRequest"]),
        (Outcome("failed", 200, details="stream_idle_timeout"), ["idle timeout"]),
        (Outcome("failed", 408, details="request_overall_timeout"), ["body timeout"]),
        (
            Outcome("failed", 503, details="upstream_reset_before_response_started{connection_failure|x}"),
            ["connect failure"],
        ),
        (
            Outcome("failed", 502, details="upstream_reset_before_response_started{connection_termination}"),
            ["closed the connection before it answered"],
        ),
        (
            Outcome("failed", 200, A, 0.1, details="upstream_reset_after_response_started{remote_reset}"),
            ["broke off"],
        ),
        (Outcome("failed", 502, details="gave-up", attempts=3), ["gave up: two endpoints"]),
        (Outcome("failed", 503, details="no_healthy_upstream"), ["no endpoint could be reached"]),
        (
            Outcome("failed", 503, details="no_healthy_upstream{delayed_connect_error:_Connection_refused}"),
            ["connect failure", "Connection_refused"],
        ),
        (
            Outcome("failed", 503, details="no_healthy_upstream{TLS_error:_CERTIFICATE_VERIFY_FAILED}"),
            ["connect failure", "TLS"],
        ),
        (
            Outcome("failed", 503, details="no_healthy_upstream", attempts=2),
            ["failed before it answered", "no other to try"],
        ),
        (Outcome("failed", 503, details="something_new"), ["something_new"]),
        (
            Outcome("aborted", 0, details="downstream_remote_disconnect"),
            ["the client went away before any token", "the client closed its connection"],
        ),
        (Outcome("aborted", 200, A, 0.3), ["the client went away after its first token"]),
        (
            Outcome("aborted", trouble=HANG),
            ["the client went away", f"{A} hung", "no sign of life for 2.0 s"],
        ),
        (
            Outcome("complete", 200, B, 3.0, trouble=HANG, attempts=2),
            ["answered", f"{A} hung", f"rescued by {B}", "2 attempts"],
        ),
        (
            Outcome("complete", 200, B, attempts=2, trouble="down: scrape refused"),
            [f"{A} did not answer (down: scrape refused)", f"served by {B}"],
        ),
        (Outcome("lost", details=LOST_BY_COUNT), ["nobody told how it ended", "engine's count"]),
        (Outcome("lost", details=LOST_TOO_LONG), ["nobody told how it ended", "longer than"]),
        (Outcome("lost", details=LOST_POOL), ["nobody told how it ended", "pool is served no more"]),
        (Outcome("lost", details=LOST_PEER), ["nobody told how it ended", "Envoy went away"]),
        (Outcome("lost"), ["nobody told how it ended"]),
        (None, ["still running"]),
    ],
)
def test_every_end_has_words(outcome: Outcome | None, words: list[str]) -> None:
    told = why(DECISION, outcome)
    assert [word for word in words if word not in told] == []


def test_nobody_rescued_what_two_endpoints_gave_up() -> None:
    told = why(DECISION, Outcome("failed", 502, B, trouble=HANG, details="gave-up", attempts=3))
    assert f"{A} hung ({HANG}), nor did {B} answer" in told
    assert "rescued" not in told
    assert "3 attempts" not in told, "the third was not made"


def test_no_endpoint_served_what_the_last_one_tried_refused_too() -> None:
    details = "upstream_reset_before_response_started{remote_connection_failure}"
    told = why(
        DECISION, Outcome("failed", 503, B, trouble="down: scrape refused", details=details, attempts=4)
    )
    assert f"{A} did not answer (down: scrape refused), nor did {B} answer; 4 attempts" in told
    assert "served by" not in told


def test_a_healthy_answer_of_the_first_choice_says_no_more() -> None:
    assert why(DECISION, Outcome("complete", 200, A, 0.1, 1.0, attempts=1)) == "answered"


def test_a_refusal_says_its_reason() -> None:
    assert why(replace(DECISION, chosen=(), refused="saturated"), None) == "refused: saturated"


@pytest.mark.parametrize(
    ("details", "could_not_connect"),
    [
        ("upstream_reset_before_response_started{remote_connection_failure|Connection refused}", True),
        ("upstream_reset_before_response_started{connection_timeout}", True),
        ("no_healthy_upstream{delayed connect error: Connection refused}", True),
        ("upstream_reset_before_response_started{connection_termination}", False),
        ("no_healthy_upstream", False),
        ("response_timeout", False),
        (None, False),
    ],
)
def test_a_connection_that_could_not_be_made_is_told_from_an_answer_that_did_not_come(
    details: str | None, could_not_connect: bool
) -> None:
    assert unconnected(details) == could_not_connect
