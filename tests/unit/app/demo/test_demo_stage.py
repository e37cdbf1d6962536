"""The demo on a terminal, on a pipe, and for programs."""

import io
import json

import pytest

from headgate.app.demo.fleet import ReplicaNow
from headgate.app.demo.plan import DemoSettings, set_scene
from headgate.app.demo.stage import JsonStage, TextStage
from headgate.io.load.report import Report, Sample, make_report
from headgate.io.terminal.console import PlainConsole

REPLICAS = (
    ReplicaNow(name="replica-0", endpoint="a:1", running=3, waiting=1, kv_used=0.5, hit_rate=0.75),
    ReplicaNow(name="replica-1", endpoint="b:1"),
)


def report(ttft_s: float = 0.1) -> Report:
    sample = Sample(
        at_s=0, status=200, first_byte=True, ttft_s=ttft_s, tpot_s=0.01, duration_s=1.0,
        prompt_tokens=100, cached_tokens=80, completion_tokens=10, endpoint="a:1",
    )  # fmt: skip
    return make_report([sample] * 9, elapsed_s=10.0)


def test_without_a_terminal_there_are_lines_and_not_too_many() -> None:
    out = io.StringIO()
    scene = set_scene(DemoSettings())
    with TextStage(scene, PlainConsole(file=out, force_terminal=False, width=200)) as stage:
        stage.gateway_up("default", "http://localhost:1", scene.model)
        for _ in range(5):
            stage.moment("default", report(), 1, REPLICAS)
        stage.run_over("default", report())
        stage.gateway_up("round-robin", "http://localhost:1", scene.model)
        stage.finish({"default": report(), "round-robin": report(0.5)})
    text = out.getvalue()
    assert text.count("running+waiting") == 1
    assert text.count("curl ") == 1
    assert "5.0 times sooner" in text
    assert "\x1b" not in text


def test_on_a_terminal_the_board_is_redrawn() -> None:
    out = io.StringIO()
    with TextStage(
        set_scene(DemoSettings()), PlainConsole(file=out, force_terminal=True, width=120)
    ) as stage:
        stage.moment("default", report(), 1, REPLICAS)
        stage.moment("default", report(), 1, REPLICAS)
        stage.run_over("default", report())
    assert "\x1b[" in out.getvalue()
    assert "replica-1" in out.getvalue()


def test_json_is_one_line_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    with JsonStage() as stage:
        stage.moment("default", report(), 1, REPLICAS)
        stage.finish({"default": report()})
    (line,) = capsys.readouterr().out.splitlines()
    page = json.loads(line)["reports"]["default"]
    assert (page["ok"], page["hit_rate"], page["ttft"]["p50"]) == (9, 0.8, 0.1)
