"""What `headgate doctor` says of an installation."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from headgate.cli.commands.doctor import app


def _ask(monkeypatch: pytest.MonkeyPatch, wire: str) -> tuple[int, dict[str, object]]:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    result = CliRunner().invoke(app, ["--output", "json"])
    return result.exit_code, json.loads(result.output)


def test_it_says_which_wire_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = _ask(monkeypatch, "portable")
    assert code == 0
    assert said["wire"] == {
        "asked": "portable",
        "use": "portable",
        "native_version": None,
        "reason": "asked for",
    }


def test_a_wire_that_cannot_be_had_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    code, said = _ask(monkeypatch, "fast")
    assert code == 1
    assert isinstance(said["wire"], dict)
    assert said["wire"]["use"] is None
    assert "native, portable or auto" in said["wire"]["reason"]


@pytest.mark.parametrize(
    ("asked", "code", "use", "reason"),
    [("plain", 0, "plain", "asked for"), ("fast", 1, None, "compiled, plain or auto")],
)
def test_it_says_which_core_is_used(asked: str, code: int, use: str | None, reason: str) -> None:
    command = [sys.executable, "-m", "headgate", "doctor", "--output", "json"]
    env = os.environ | {"HEADGATE_CORE": asked, "HEADGATE_WIRE": "portable"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    said = json.loads(done.stdout)["core"]
    assert (done.returncode, said["asked"], said["use"]) == (code, asked, use)
    assert reason in said["reason"]


def test_a_missing_envoy_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_ENVOY", "/no/such/file")
    code, said = _ask(monkeypatch, "portable")
    assert code == 1
    assert isinstance(said["envoy"], dict)
    assert said["envoy"]["path"] is None
