"""What a run tells, and that nobody listening does not end it."""

import io
import json

import pytest

from headgate.cli.reporters import JsonReporter, SteadyConsole, TextReporter

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
    SteadyConsole(file=Gone(error)).print("hello")
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
