"""What the real Envoy makes of the overload manager that it is told."""

import json
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.live.harness.processes import Child, eventually, free_port

from headgate.io.envoy.binary import find_envoy
from headgate.io.envoy.bootstrap import EnvoyOptions, bootstrap, command

pytestmark = pytest.mark.live


def options(folder: Path) -> EnvoyOptions:
    return EnvoyOptions(binary=find_envoy(), folder=folder, admin_port=free_port(), concurrency=1)


def names(found: Any, what: str) -> list[str]:
    return [each["name"] for each in found["overloadManager"][what]]


def every() -> list[tuple[str, str]]:
    found = bootstrap(EnvoyOptions(binary=Path("envoy"), folder=Path()))
    return [(what, name) for what in ("actions", "loadshedPoints") for name in names(found, what)]


def test_every_action_and_point_is_there_and_idle(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    child = Child(command(chosen))
    try:
        expected = {
            f"overload.{name}.{'active' if what == 'actions' else 'scale_percent'}" for what, name in every()
        }

        def stats() -> dict[str, int]:
            url = f"http://127.0.0.1:{chosen.admin_port}/stats?filter=overload&format=json"
            with urllib.request.urlopen(url, timeout=5) as answer:
                found = json.loads(answer.read())["stats"]
            return {each["name"]: each["value"] for each in found if "name" in each}

        eventually(lambda: expected <= stats().keys())
        assert {each: stats()[each] for each in expected} == dict.fromkeys(expected, 0)
    finally:
        child.stop()


@pytest.mark.parametrize(("what", "name"), every())
def test_envoy_looks_at_each(what: str, name: str, tmp_path: Path) -> None:
    """A threshold that cannot be is refused, so that each is read and not skipped."""
    made: Any = json.loads(json.dumps(bootstrap(options(tmp_path))))
    (one,) = [each for each in made["overloadManager"][what] if each["name"] == name]
    one["triggers"][0] = {"name": one["triggers"][0]["name"], "threshold": {"value": 7}}
    file = tmp_path / "envoy.json"
    file.write_text(json.dumps(made))
    found = subprocess.run(
        [str(find_envoy()), "--mode", "validate", "-c", str(file), "-l", "error"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert found.returncode != 0 and "value" in found.stderr
