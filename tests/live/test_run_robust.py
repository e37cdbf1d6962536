"""`headgate run` where its surroundings fail: killed, unread, a long temporary folder, a file that vanishes."""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from headgate.app.processes.parent import end_with_parent

pytestmark = pytest.mark.live

PORTS = [part for name in ("port", "metrics-port", "admin-port") for part in (f"--{name}", "0")]
MANIFEST = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec: {gatewayClassName: headgate, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
NOBODY = "http://127.0.0.1:3"


class Run:
    """A `headgate run` that is ready."""

    def __init__(self, *args: str, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headgate", "run", *args, *PORTS, "--output", "json"],
            env={**os.environ, "TMPDIR": str(folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=end_with_parent(os.getpid()),
        )
        assert self.process.stdout is not None
        said = (json.loads(line) for line in self.process.stdout if line.startswith("{"))
        self.info = next(event for event in said if event["event"] == "ready")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.info['ports']['gateway']}"

    def status(self) -> dict[str, Any]:
        """What the admin API says now."""
        with urllib.request.urlopen(f"{self.info['admin']}/v1/status", timeout=10) as answer:
            content: dict[str, Any] = json.load(answer)
            return content

    def problems(self) -> list[str]:
        """Reasons that the admin API shows now."""
        return [each["reason"] for each in self.status()["gateway"]["problems"]]


@contextmanager
def running(*args: str, folder: Path) -> Iterator[Run]:
    run = Run(*args, folder=folder)
    try:
        yield run
    finally:
        run.process.send_signal(signal.SIGINT)
        try:
            run.process.wait(20)
        except subprocess.TimeoutExpired:
            run.process.kill()
            raise
        finally:
            assert run.process.stdout is not None
            run.process.stdout.close()


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose path leaves room for sockets; pytest's own may be too long for that."""
    with tempfile.TemporaryDirectory(prefix="hg-", dir="/tmp") as folder:
        yield Path(folder)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def within(limit_s: float, reached: Callable[[], bool]) -> None:
    end = time.monotonic() + limit_s
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_killed_run_takes_its_children_along_and_the_next_one_sweeps_up(short_path: Path) -> None:
    with running(NOBODY, folder=short_path) as run:
        (left,) = short_path.glob("headgate-*")
        run.process.kill()
        within(5, lambda: not any(alive(pid) for pid in run.info["pids"].values()))
    assert left.exists()
    with running(NOBODY, folder=short_path):
        assert not left.exists()
        assert len(list(short_path.glob("headgate-*"))) == 1
    assert not list(short_path.glob("headgate-*"))


def test_a_long_temporary_folder_works(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 120)
    long.mkdir()
    with running(NOBODY, folder=long) as run:
        assert status_of(f"{run.url}/v1/models") in (200, 503)
        assert not list(long.iterdir())


def test_a_gateway_whose_output_nobody_reads_serves_on(tmp_path: Path) -> None:
    with running(NOBODY, folder=tmp_path) as run:
        assert run.process.stdout is not None
        run.process.stdout.close()
        os.kill(run.info["pids"]["picker"], signal.SIGKILL)

        def back() -> bool:
            status = run.status()
            return status["picker"] is not None and status["waiting_for"] in ([], ["endpoints"])

        within(60, back)
        (picker,) = (each for each in run.status()["processes"] if each["name"] == "picker")
        assert picker["restarts"] == 1, "it said so, to nobody"
        assert status_of(f"{run.url}/v1/models") in (200, 503)


def test_a_named_file_that_vanishes_is_served_on(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(MANIFEST)
    with running("-f", str(file), folder=tmp_path) as run:
        assert status_of(run.url) == 404
        as_it_was = set(run.problems())
        file.unlink()
        within(30, lambda: set(run.problems()) == {*as_it_was, "NotFound"})
        assert status_of(run.url) == 404
        file.touch()
        within(30, lambda: set(run.problems()) == {*as_it_was, "Empty"})
        assert status_of(run.url) == 404
        file.write_text(MANIFEST)
        within(30, lambda: set(run.problems()) == as_it_was)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.8, 1.5])
def test_a_signal_at_any_moment_of_the_start_ends_it_well(
    number: signal.Signals, after_s: float, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "headgate", "run", NOBODY, *PORTS],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(after_s)
    process.send_signal(number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_nothing_of_its_own_can_be_reached_by_another_user(short_path: Path) -> None:
    with running(NOBODY, folder=short_path) as run:
        (folder,) = short_path.glob("headgate-*")
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        sockets = {
            path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir() if path.is_socket()
        }
        assert set(sockets) >= {"xds.sock", "extproc.sock", "envoy.sock", "controller.sock", "picker.sock"}
        assert set(sockets.values()) == {0o600}
        listening = {
            (each.laddr.ip, each.laddr.port)
            for pid in (run.process.pid, *run.info["pids"].values())
            for each in psutil.Process(pid).net_connections("inet")
            if each.status == psutil.CONN_LISTEN
        }
        ports = run.info["ports"]
        assert listening == {
            ("0.0.0.0", ports["gateway"]),
            *(("127.0.0.1", ports[name]) for name in ("admin", "metrics")),
        }


ROUTE = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: g}]
  rules: [{backendRefs: [{group: headgate.dev, kind: ModelServer, name: m}]}]
---
apiVersion: headgate.dev/v1alpha1
kind: ModelServer
metadata: {name: m}
spec: {url: "URL"}
"""


def test_a_route_to_the_gateways_own_ports_publishes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(MANIFEST + ROUTE.replace("URL", NOBODY))
    with running("-f", str(file), folder=tmp_path) as run:
        for name in ("admin", "metrics", "gateway"):
            url = f"http://127.0.0.1:{run.info['ports'][name]}"
            assert name == "gateway" or status_of(f"{url}/healthz") in (200, 404)
            file.write_text(MANIFEST + ROUTE.replace("URL", url))
            within(30, lambda: "ForbiddenAddress" in run.problems())
            within(30, lambda: status_of(f"{run.url}/healthz") == 503)
            file.write_text(MANIFEST + ROUTE.replace("URL", NOBODY))
            within(30, lambda: "ForbiddenAddress" not in run.problems())
