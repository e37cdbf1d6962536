"""What the demo says."""

import io
import shlex

import pytest

from headgate.app.demo.fleet import ReplicaNow
from headgate.app.demo.plan import DemoSettings, set_scene
from headgate.app.demo.view import (
    board,
    comparison_rows,
    invitation,
    milliseconds,
    opening,
    percent,
    progress,
    verdict,
)
from headgate.io.load.report import Report, Sample, make_report
from headgate.io.terminal.console import PlainConsole

REPLICAS = (
    ReplicaNow(name="replica-0", endpoint="a:1", running=3, waiting=1, kv_used=0.5, hit_rate=0.75),
    ReplicaNow(name="replica-1", endpoint="b:1"),
)


def report(ttft_s: float | None = 0.1, cached: int = 80, failed: int = 0) -> Report:
    good = Sample(
        at_s=0, status=200, first_byte=True, ttft_s=ttft_s, tpot_s=0.01, duration_s=1.0,
        prompt_tokens=100, cached_tokens=cached, completion_tokens=10, endpoint="a:1",
    )  # fmt: skip
    lost = [Sample(at_s=0, status=503, error="503")] * failed
    return make_report([good] * 9 + lost, elapsed_s=10.0)


def shown(*renderables: object) -> str:
    console = PlainConsole(file=io.StringIO(), width=160, force_terminal=False)
    for renderable in renderables:
        console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_durations_and_shares() -> None:
    assert [milliseconds(value) for value in (None, 0.0124, 0.999, 1.5)] == ["-", "12 ms", "999 ms", "1.50 s"]
    assert [percent(value) for value in (None, 0.0, 0.876)] == ["-", "0%", "88%"]


@pytest.mark.parametrize(
    ("ours", "theirs", "says"),
    [
        (0.1, 0.5, "5.0 times sooner"),
        (0.5, 0.1, "5.0 times later"),
        (0.1, 0.105, "about as soon"),
        (None, 0.1, "cannot be compared"),
    ],
)
def test_the_verdict_is_honest_either_way(ours: float | None, theirs: float | None, says: str) -> None:
    said = verdict({"default": report(ours), "round-robin": report(theirs, cached=20)})
    assert says in said[0]
    assert "80%" in said[1]
    assert "20%" in said[1]
    assert len(said) == 2


def test_failures_are_not_hidden() -> None:
    said = verdict({"default": report(failed=1), "random": report(failed=2), "round-robin": report()})
    assert said[2:4] == [
        "1 request failed with default: 503 (1).",
        "2 requests failed with random: 503 (2).",
    ]
    assert said[6:] == ["1 request failed with default: 503 (1)."]


def test_one_policy_alone_is_compared_with_nothing() -> None:
    assert verdict({"default": report()}) == []


def test_a_moment_in_a_line_and_on_a_board() -> None:
    line = progress("default", report(failed=1), 4, REPLICAS)
    assert "default: 10.0 s, 9 answered, 4 open, 1 failed" in line
    assert line.endswith("running+waiting 3+1 -")
    drawn = shown(board("default", report(failed=1), 4, REPLICAS))
    assert "replica-0" in drawn
    assert "9 answered, 4 open, 1 failed" in drawn
    assert "50%" in drawn


def test_every_row_has_a_cell_for_every_policy() -> None:
    rows = comparison_rows([report(), report(0.5), report(None)])
    assert all(len(cells) == 3 for _, cells in rows)
    assert dict(rows)["answered / failed"] == ["9 / 0"] * 3


def test_the_invitation_is_valid_shell_and_python() -> None:
    curl, python = invitation("http://localhost:8080", "meta-llama/Llama-3.1-8B-Instruct")[1:]
    assert shlex.split(curl)[1] == "http://localhost:8080/v1/chat/completions"
    command = shlex.split(python)
    assert command[:2] == ["python", "-c"]
    compile(command[2], "invitation", "exec")


def test_the_opening_says_what_was_chosen() -> None:
    text = "\n".join(opening(set_scene(DemoSettings(speed=2.0, rate=5.0, kv_tokens=64_000))))
    assert "2 times faster" in text
    assert "64k tokens" in text
    assert "10.0 requests/s for 20 s" in text
    assert "slower" not in text
    mixed = opening(set_scene(DemoSettings(slow=2)))
    assert "2 of them 4 times slower than the others" in mixed[0]


def test_the_board_fits_into_80_columns() -> None:
    console = PlainConsole(width=80, color_system=None)
    with console.capture() as capture:
        console.print(board("default", report(), 4, REPLICAS, width=80))
    wide = shown(board("default", report(), 4, REPLICAS))
    assert len(capture.get().splitlines()) == len(wide.splitlines())
    assert "…" not in capture.get()
