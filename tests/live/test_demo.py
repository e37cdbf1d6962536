"""`headgate demo`, whole: short runs, on a pipe, on a terminal, kept and killed."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from tests.live.harness.processes import HEADGATE, Child

pytestmark = pytest.mark.live

COMMAND = [*HEADGATE, "demo", "--port", "0"]


def gone(processes: list[psutil.Process], within_s: float = 10.0) -> bool:
    """Whether all of them end soon."""
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return not alive


@pytest.fixture
def start() -> Iterator[Callable[..., Child]]:
    started: list[Child] = []

    def run(*args: str) -> Child:
        started.append(Child([*COMMAND, *args], env={"COLUMNS": "80"}))
        return started[-1]

    yield run
    for child in started:
        child.stop()


def says(child: Child, wanted: str) -> str:
    """The next line with *wanted*."""
    return child.wait_for(lambda line: wanted in line, 60)


def test_prefix_aware_routing_wins_where_prefixes_are_shared(
    start: Callable[..., Child],
) -> None:
    began = time.monotonic()
    process = start("--duration", "8", "--output", "json")
    assert process.end(90) == 0, process
    reports: dict[str, Any] = json.loads(process.out[-1])["reports"]
    ours, theirs = reports["default"], reports["round-robin"]
    for report in (ours, theirs):
        print({name: report[name] for name in ("ok", "errors", "ttft", "hit_rate", "goodput")})
        assert report["errors"] == {}
        assert len(report["endpoints"]) == 4
    assert ours["requests"] == theirs["requests"] > 100
    assert ours["hit_rate"] > theirs["hit_rate"] + 0.2
    assert ours["ttft"]["p50"] < theirs["ttft"]["p50"] / 1.5
    assert time.monotonic() - began < 60


def test_without_a_terminal_it_prints_lines_and_an_invitation_that_works(
    start: Callable[..., Child],
) -> None:
    process = start("--duration", "4", "--policy", "random", "--replicas", "2")
    says(process, "running+waiting")
    curl = next(line for line in process.out if line.lstrip().startswith("curl "))
    answer = json.loads(
        subprocess.run(["bash", "-c", f"{curl.strip()} -s"], capture_output=True, timeout=20).stdout
    )
    assert answer["choices"][0]["message"]["content"]
    assert process.end(40) == 0
    said = "\n".join([*process.out, *process.err])
    assert "time to first token, p50" in said
    assert "\x1b" not in said


def test_on_a_terminal_it_draws_a_board() -> None:
    ours, theirs = pty.openpty()
    environ = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    environ.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [*COMMAND, "--duration", "3", "--policy", "default", "--replicas", "2"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environ, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    drawn = b""
    try:
        while select.select([ours], [], [], 60)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the terminal's other side is closed
                break
            if not part:
                break
            drawn += part
        assert process.wait(10) == 0
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
            process.wait(10)
    text = drawn.decode(errors="replace")
    assert re.search(r"\x1b\[\d*A|\x1b\[2K", text), "the board was never redrawn"
    assert "PREFIX HITS" in text
    assert "replica-1" in text


def test_kept_it_serves_until_ctrl_c_and_leaves_nothing(start: Callable[..., Child]) -> None:
    process = start("--duration", "1", "--policy", "default", "--replicas", "2", "--keep")
    says(process, "goes on serving")
    family = psutil.Process(process.process.pid).children(recursive=True)
    assert len(family) >= 5  # fleet, run, controller, picker, Envoy
    process.signal(signal.SIGINT)
    assert process.end(20) == 0
    assert gone(family)


def test_killed_it_takes_its_children_along(start: Callable[..., Child]) -> None:
    process = start("--duration", "20", "--replicas", "2")
    says(process, "running+waiting")
    family = psutil.Process(process.process.pid).children(recursive=True)
    process.signal(signal.SIGKILL)
    assert gone(family)


def test_what_cannot_work_is_said_at_once(start: Callable[..., Child]) -> None:
    process = start("--load", "heavy")
    assert process.end(20) == 1
    assert "no load 'heavy'; there are shared-prefix" in "\n".join(process.err)
