"""Files made to do harm, dropped into the folder of a running gateway and given to `headgate check`."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually, run_headgate

pytestmark = pytest.mark.live

DEEP = "[" * 200_000
BOMB = "a0: &a0 {k0: v, k1: v, k2: v, k3: v, k4: v, k5: v, k6: v, k7: v, k8: v, k9: v}\n" + "".join(
    f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 9)
)


@pytest.fixture(scope="module")
def fleet() -> Iterator[list[str]]:
    with replicas(1, "--speed", "5") as started:
        yield started.urls


def write(folder: Path, urls: list[str], *names: str) -> None:
    servers = [manifest.model_server(name, urls[0].replace("127.0.0.1", host), app="pool") for name, host in
               zip(names, ("127.0.0.1", "127.0.0.2"), strict=False)]  # fmt: skip
    rule = manifest.rule("pool", matches=[{"path": {"type": "PathPrefix", "value": "/"}}])
    manifest.write(
        folder / "good.yaml",
        manifest.gateway(),
        manifest.route(rule),
        manifest.pool("pool", "FailOpen"),
        *servers,
    )


def refused(running: Gateway, half: str) -> dict[str, str]:
    """Name of each file that is complained about → reason, as a process says."""
    problems = (running.status()[half] or {}).get("problems", [])
    return {Path(each["place"]["file"]).name: each["reason"] for each in problems if each["place"]["file"]}


def test_they_are_refused_by_name_and_nothing_else_notices(fleet: list[str], tmp_path: Path) -> None:
    write(tmp_path, fleet, "one")
    with gateway("-f", str(tmp_path)) as running:
        assert len(running.endpoints()) == 1
        before = {name: running.pid(name) for name in ("controller", "picker")}
        (tmp_path / "deep.yaml").write_text(DEEP)
        (tmp_path / "bomb.yaml").write_text(BOMB)
        os.mkfifo(tmp_path / "fifo.yaml")
        expected = {"deep.yaml": "TooLarge", "bomb.yaml": "TooLarge", "fifo.yaml": "NotAFile"}
        eventually(lambda: refused(running, "gateway") == refused(running, "picker") == expected, 60)

        write(tmp_path, fleet, "one", "two")
        eventually(lambda: len(running.endpoints()) == 2, 60)
        shown = run_headgate("status", "--admin", running.admin)
        assert all(name in shown.stdout for name in expected), shown.stdout

        for name in expected:
            (tmp_path / name).unlink()
        eventually(lambda: refused(running, "gateway") == refused(running, "picker") == {}, 60)
        assert {name: running.pid(name) for name in before} == before


@pytest.mark.parametrize("command", ["check", "translate"])
def test_commands_say_what_is_wrong_with_them(command: str, tmp_path: Path) -> None:
    manifest.write(tmp_path / "good.yaml", manifest.gateway())
    (tmp_path / "deep.yaml").write_text(DEEP)
    (tmp_path / "bomb.yaml").write_text(BOMB)
    os.mkfifo(tmp_path / "fifo.yaml")
    found = run_headgate(command, "-f", str(tmp_path))
    assert found.returncode == 1
    said = found.stdout + found.stderr
    for name, words in (
        ("deep.yaml:1", "levels deep"),
        ("bomb.yaml:1", "repeat more than"),
        ("fifo.yaml", "FIFO"),
    ):
        assert any(name in line and words in line for line in said.splitlines()), said
    assert "Traceback" not in said
