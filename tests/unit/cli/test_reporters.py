"""What a run tells, and that nobody listening does not end it."""

import io
import json

import pytest

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
        reporter.child_said("picker", "hello")
        reporter.note("hello")


def test_text_has_the_address_and_a_command_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = TextReporter()
    reporter.ready(INFO)
    reporter.child_said("picker", "pool [x] has 1 endpoints")
    said = capsys.readouterr()
    assert "Listening on http://localhost:8080\n" in said.out
    assert "curl http://localhost:8080/v1/chat/completions" in said.out
    assert said.err == "picker     | pool [x] has 1 endpoints\n"


def test_json_is_one_event_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = JsonReporter()
    reporter.ready(INFO)
    reporter.note("draining")
    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first == {"event": "ready", **INFO}
    assert second == {"event": "note", "text": "draining"}


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
    reporter.child_said("picker", HOSTILE)
    reporter.note(HOSTILE)
    said = capsys.readouterr()
    assert all(each.isprintable() for each in said.out.split("\n"))
    assert said.out.count("[/oops]") == 7
    assert "curl http://localhost:8080/v1/chat/completions" in said.out
    assert said.err == f"picker     | {SHOWN}\n{SHOWN}\n"


def test_json_for_programs_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    text = "\x1b[2J \x9b2J \u202e \x7f é 😀"
    reporter = JsonReporter()
    reporter.note(text)
    reporter.child_said("picker", text)
    said = capsys.readouterr()
    assert said.out.strip("\n").isprintable()
    assert said.err.strip("\n").isprintable()
    assert json.loads(said.out)["text"] == text
