"""What a run tells, and that nobody listening does not end it."""

import io
import json
from typing import Any

import pytest

from headgate.app.processes.lines import Line
from headgate.cli.reporters import JsonReporter, TextReporter
from headgate.io.sources.probe import ProbeResult
from headgate.model.load import ModelCard

INFO = {
    "url": "http://localhost:8080",
    "admin": "http://127.0.0.1:15000",
    "model": "m",
    "probed": True,
    "listeners": [{"gateway": "default/headgate", "name": "http", "port": 8080}],
    "pools": [],
}


TIME = "2026-01-31T12:00:00.000Z"


def said(text: str, **more: Any) -> Line:
    return Line(time=TIME, text=text, **more)


class Gone(io.StringIO):
    """A stream whose reader is gone, or whose disk is full."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(28, "No space left on device")])
def test_a_reader_that_is_gone_ends_nothing(error: OSError, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout", Gone(error))
    monkeypatch.setattr("sys.stderr", Gone(error))
    for reporter in (TextReporter(), JsonReporter()):
        reporter.ready(INFO)
        reporter.said("picker", said("hello"))
        reporter.joined(ProbeResult(url="http://127.0.0.1:1", ok=True))


def test_text_has_the_address_and_a_command_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TextReporter()
    reporter.ready(INFO)
    reporter.said("picker", said("pool [x] has 1 endpoint"))
    reporter.said("picker", said("it broke", level="error", trace="one\n  two"))
    reporter.said("controller", said("warning: x.yaml:3: odd", level="warning", event="problem"))
    told = capsys.readouterr()
    assert "Listening on http://localhost:8080\n" in told.out
    assert "curl http://localhost:8080/v1/chat/completions" in told.out
    assert told.err.splitlines() == [
        f"{TIME} picker     | pool [x] has 1 endpoint",
        f"{TIME} picker     | error: it broke",
        f"{TIME} picker     | one",
        f"{TIME} picker     |   two",
        f"{TIME} controller | warning: x.yaml:3: odd",
    ]


def test_json_is_one_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = JsonReporter()
    reporter.ready(INFO)
    reporter.said("picker", said("draining", event="drain", fields={"requests": 2}))
    reporter.said("picker", said("odd", trace="one\ntwo"))
    first, second, third = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "ready", "time": first["time"], **INFO}
    common = {"time": TIME, "from": "picker", "level": "info"}
    assert second == {**common, "event": "drain", "requests": 2, "text": "draining"}
    assert third == {**common, "event": "log", "text": "odd", "trace": "one\ntwo"}


def test_a_late_server_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    late = ProbeResult(
        url="http://a:1", ok=True, engine="vllm", version="0.32", models=(ModelCard("m"), ModelCard("n"))
    )
    TextReporter().joined(late)
    JsonReporter().joined(late)
    told = capsys.readouterr()
    assert told.err.endswith(" headgate   | http://a:1 answers now: vllm 0.32, models m, n\n")
    event = json.loads(told.out)
    assert (event["event"], event["replica"]["url"]) == ("joined", "http://a:1")


HOSTILE = "[/oops] \x1b[2J\x1b]0;owned\x07 :smile:\r\u202eevil\nfake  line"
SHOWN = r"[/oops] \x1b[2J\x1b]0;owned\x07 :smile:\r\u202eevil\nfake  line"


def test_what_others_wrote_is_shown_and_not_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    replica = ProbeResult(
        url="http://127.0.0.1:1", ok=True, engine=HOSTILE, models=(ModelCard(HOSTILE),), version=HOSTILE
    )
    silent = ProbeResult(url="http://127.0.0.1:2", ok=False, error=HOSTILE)
    pool = {"key": HOSTILE, "failure_mode": "FailOpen", "endpoints": [{"id": HOSTILE}]}
    reporter = TextReporter()
    reporter.probed((replica, silent))
    reporter.ready({**INFO, "model": HOSTILE, "probed": False, "pools": [pool]})
    reporter.said("picker", said(HOSTILE))
    told = capsys.readouterr()
    assert all(each.isprintable() for each in told.out.split("\n"))
    assert told.out.count("[/oops]") == 7
    assert "curl http://localhost:8080/v1/chat/completions" in told.out
    assert told.err == f"{TIME} picker     | {SHOWN}\n"


def test_json_has_the_models_of_a_replica_as_it_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    card = ModelCard("m", root="/m", rest=b'{"created":5,"permission":[{"id":"p"}]}')
    replica = ProbeResult(url="http://127.0.0.1:1", ok=True, models=(card,))
    reporter = JsonReporter()
    reporter.probed((replica,))
    reporter.joined(replica)
    probed, joined = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    [told] = probed["replicas"][0]["models"]
    assert (told["id"], told["root"], told["created"], told["permission"]) == ("m", "/m", 5, [{"id": "p"}])
    assert "rest" not in told
    assert joined["replica"] == probed["replicas"][0]


def test_json_for_programs_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\x1b[2J \x9b2J \u202e \x7f é 😀"
    reporter = JsonReporter()
    reporter.said("picker", said(text))
    told = capsys.readouterr()
    assert told.out.strip("\n").isprintable()
    assert json.loads(told.out)["text"] == text
