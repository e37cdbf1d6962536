"""What `headgate explain` prints of a decision record."""

import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from headgate.cli.commands.explain import (
    answer_lines,
    app,
    candidate_table,
    cost_lines,
    headline,
    request_table,
    what_happened,
)
from headgate.io.terminal.console import PlainConsole
from headgate.model.decisions import Candidate, Decision, DecisionRecord, Term
from headgate.model.ids import EndpointId, PoolKey, RequestId
from headgate.model.own_answers import Explained, OwnAnswer
from headgate.model.requests import Outcome, Usage

A, B, C = EndpointId("10.0.0.1:1"), EndpointId("10.0.0.2:1"), EndpointId("10.0.0.3:1")

DECISION = Decision(
    request_id=RequestId("r-1"),
    pool=PoolKey("default/p"),
    policy="default",
    at=1.0,
    model="food",
    target_model="food-1",
    prompt_tokens=640,
    chosen=(A, B),
    runner_up=B,
    candidates=(
        Candidate(endpoint=C, filtered_by="healthy", filter_reason="refused connections"),
        Candidate(endpoint=B, cost=0.9, terms=(Term("prefill", 0.9), Term("load", 0.0)), metrics_age_s=2.5),
        Candidate(
            endpoint=A, cost=0.25, terms=(Term("prefill", 0.25),), matched_tokens=512, metrics_age_s=0.1
        ),
    ),
    predicted_ttft_s=0.02,
)


def rows(decision: Decision) -> list[str]:
    console = PlainConsole(width=140, color_system=None)
    with console.capture() as capture:
        console.print(candidate_table(decision))
    return capture.get().splitlines()[1:]


def test_candidates_stand_cheapest_first_with_terms_age_and_reason() -> None:
    first, second, third = rows(DECISION)
    assert first.split()[:4] == [A, "0.25", "prefill", "0.25"]
    assert "512 tok" in first
    assert "100 ms old" in first
    assert first.rstrip().endswith("chosen")
    assert "load" not in second  # a term of 0 says nothing
    assert second.rstrip().endswith("runner-up")
    assert third.rstrip().endswith("filtered by healthy: refused connections")
    assert "never" in third


def test_the_headline_says_who_asked_and_where_it_went() -> None:
    text = "\n".join(headline(DecisionRecord(decision=DECISION, wall_time=0.0)))
    assert "request r-1" in text
    assert "food → food-1" in text
    assert f"sent to {A}, then if it fails: {B}" in text


def test_predicted_and_seen_stand_together() -> None:
    outcome = Outcome(
        ending="complete", status=200, served=B, ttft_s=0.031, duration_s=1.5, usage=Usage(600, 20, 512)
    )
    record = DecisionRecord(
        decision=DECISION, wall_time=0.0, outcome=outcome, why=f"answered; {A} hung, rescued by {B}"
    )
    lines = list(what_happened(record))
    assert lines == [
        "predicted first token after 20 ms",
        "seen      first token after 31 ms",
        "complete with status 200 after 1.50 s",
        f"answered; {A} hung, rescued by {B}",
        "the engine counted 600 prompt tokens (512 of them cached), 20 completion tokens",
    ]


def test_requests_stand_in_a_table_with_their_times_and_ends() -> None:
    done = DecisionRecord(
        decision=DECISION,
        wall_time=0.0,
        time="2026-01-31T12:00:00.000Z",
        outcome=Outcome("failed", 504, B, None, 30.0),
        why="timeout",
    )
    running = DecisionRecord(decision=DECISION, wall_time=0.0, time="t", why="still running")
    console = PlainConsole(width=200, color_system=None)
    with console.capture() as capture:
        console.print(request_table([done, running]))
    head, first, second = (line.split() for line in capture.get().splitlines())
    assert head == ["TIME", "REQUEST", "MODEL", "ENDPOINT", "STATUS", "TTFT", "DURATION", "ENDING", "WHY"]
    assert first == [
        "2026-01-31T12:00:00.000Z",
        "r-1",
        "food",
        B,
        "504",
        "-",
        "30.00",
        "s",
        "failed",
        "timeout",
    ]
    assert second == ["t", "r-1", "food", A, "-", "-", "-", "running", "still", "running"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--slowest", "--recent"],
        ["--slowest", "--last"],
        ["--slowest", "many"],
        ["--recent", "0"],
        ["--recent", "1001"],
        [],
        ["id", "--last"],
        [""],
    ],
)
def test_what_cannot_be_meant_is_a_mistake(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_a_refusal_and_a_running_request() -> None:
    refused = Decision(
        request_id=RequestId("r"),
        pool=PoolKey("d/p"),
        policy="default",
        at=0.0,
        refused="saturated",
        waited_s=2.0,
    )
    record = DecisionRecord(decision=refused, wall_time=0.0)
    assert list(headline(record))[-2:] == ["waited 2.00 s for its turn", "refused: saturated"]
    assert list(what_happened(record)) == ["answered with the refusal"]
    running = DecisionRecord(decision=DECISION, wall_time=0.0)
    assert list(what_happened(running))[-1] == "still running"


def test_what_became_of_a_session_is_said() -> None:
    record = DecisionRecord(decision=replace(DECISION, session="kept"), wall_time=0.0)
    assert "session: where its last request went" in list(headline(record))
    record = DecisionRecord(decision=replace(DECISION, prior="gone"), wall_time=0.0)
    assert any(
        line.startswith("the answer or conversation that it goes on with: kept by")
        for line in headline(record)
    )


def test_pace_and_sharers_are_named_where_there_are_any() -> None:
    slow = replace(DECISION.candidates[1], pace=2.13)
    decision = replace(DECISION, sharers=12, candidates=(DECISION.candidates[2], slow))
    chosen, second = rows(decision)
    assert "prefill 0.9; pace 2.1x" in second
    assert "pace" not in chosen
    told = " ".join(headline(DecisionRecord(decision=decision, wall_time=0.0)))
    assert "shares its cached prefix with 12 in flight: each is charged 1/13 of the surcharge" in told
    assert "share" not in " ".join(headline(DecisionRecord(decision=DECISION, wall_time=0.0)))


def test_a_narrow_terminal_gets_the_parts_below_the_table() -> None:
    console = PlainConsole(width=80, color_system=None)
    with console.capture() as capture:
        console.print(candidate_table(DECISION, with_parts=False))
    lines = capture.get().splitlines()
    assert "MADE OF" not in lines[0]
    assert lines[1].startswith(f"{A}  0.25 ")
    assert list(cost_lines(DECISION)) == ["", f"{A} costs 0.25: prefill 0.25", f"{B} costs 0.9: prefill 0.9"]


def test_an_answer_of_the_gateway_itself() -> None:
    answer = OwnAnswer(
        request_id="r-1",
        at=0.0,
        port=80,
        method="GET",
        host="",
        path="/x",
        status=404,
        details="route_not_found",
    )
    told = Explained(answer=answer, time="T", why=("No route.", "there is none"))
    assert list(answer_lines(told)) == [
        "request r-1  T",
        "GET /x  host -  port 80",
        "answered by the gateway: 404 without a reason",
        "",
        "No route.",
        "there is none",
        "Envoy calls it route_not_found",
    ]
