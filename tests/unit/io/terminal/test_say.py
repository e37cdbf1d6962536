"""Lines are lines, and JSON means what it meant."""

import io
import json
from typing import Any

import pytest

from headgate.io.terminal.say import say, say_json


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\x1b[2J\nb", "c")
    say()
    say("[/oops]\r", err=True)
    said = capsys.readouterr()
    assert said.out == "a\\x1b[2J\\nb\nc\n\n"
    assert said.err == "[/oops]\\r\n"


def test_json_over_lines_or_in_one(capsys: pytest.CaptureFixture[str]) -> None:
    content: dict[str, Any] = {"a": [1, "\x9b"]}
    say_json(content)
    say_json(content, indent=False)
    pretty, _, line = capsys.readouterr().out.rstrip("\n").rpartition("\n")
    assert json.loads(pretty) == json.loads(line) == content
    assert pretty.count("\n") > 1


def test_a_narrow_encoding_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    say("模")
    assert raw.getvalue() == b"\\u6a21\n"
