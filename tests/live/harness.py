"""Starts the real programs for the live tests and ends them with the test.

Everything is started with port 0 or free ports and told to die with its parent.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

HEADGATE = [sys.executable, "-m", "headgate"]


class Child:
    """A child process whose output is kept, line by line."""

    def __init__(self, args: Sequence[str], env: dict[str, str] | None = None) -> None:
        self.args = list(args)
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            self.args,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **(env or {})},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for(self, wanted: Callable[[str], bool], within_s: float = 30) -> str:
        """The first output line that *wanted* accepts; fails with the whole output when none comes."""
        end = time.monotonic() + within_s
        seen = 0
        while time.monotonic() < end:
            while seen < len(self.lines):
                if wanted(self.lines[seen]):
                    return self.lines[seen]
                seen += 1
            if self.process.poll() is not None and seen == len(self.lines) and not self._reader.is_alive():
                break
            time.sleep(0.02)
        raise AssertionError(
            f"{' '.join(self.args[2:5])} (exit {self.process.poll()}) never said it; output:\n"
            + "\n".join(self.lines[-40:])
        )

    def stop(self, within_s: float = 20) -> int:
        """SIGTERM, then a second one, then SIGKILL; the exit status."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.process.send_signal(number)
            try:
                self.process.wait(within_s / 4)
                break
            except subprocess.TimeoutExpired:
                continue
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.returncode


def get_json(url: str, data: Any = None, timeout_s: float = 10) -> Any:
    """GET, or POST when *data* is given; decoded JSON."""
    body = None if data is None else json.dumps(data).encode()
    request = urllib.request.Request(url, data=body, headers={"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:
        return json.loads(answer.read())


def eventually(check: Callable[[], Any], within_s: float = 10, every_s: float = 0.05) -> Any:
    """The first true value of *check*; OSError and AssertionError count as not yet."""
    end = time.monotonic() + within_s
    while True:
        try:
            value = check()
            if value:
                return value
            why: object = value
        except (OSError, AssertionError, urllib.error.URLError) as error:
            why = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s} s; last: {why!r}")
        time.sleep(every_s)


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


class Replicas:
    """A running `headgate fleet`."""

    def __init__(self, child: Child, urls: list[str], control: str) -> None:
        self.child = child
        self.urls = urls
        self._control = control

    def endpoint(self, number: int) -> str:
        """`ip:port` of a replica."""
        return self.urls[number].removeprefix("http://")

    def fault(self, number: int, kind: str, **more: object) -> None:
        """Set a fault, or end one with `recover`."""
        get_json(self._control + "/fault", {"replica": number, "kind": kind, **more})


@contextmanager
def replicas(count: int, *args: str) -> Iterator[Replicas]:
    """`headgate fleet` with *count* replicas on free ports."""
    line = ["fleet", "--replicas", str(count), "--port-base", "0", "--control-port", "0", "--drain-s", "0"]
    child = Child([*HEADGATE, *line, "--output", "json", "--die-with-parent", *args])
    try:
        control = json.loads(child.wait_for(lambda line: line.startswith('{"control"')))["control"]
        urls = [json.loads(line)["url"] for line in child.lines if line.startswith('{"name"')]
        yield Replicas(child, urls, control)
    finally:
        child.stop()


class Gateway:
    """A running `headgate run`."""

    def __init__(self, child: Child, info: Any) -> None:
        self.child = child
        self.info = info
        self.url = f"http://127.0.0.1:{info['ports']['gateway']}"
        self.admin = str(info["admin"])

    def status(self) -> Any:
        """The merged status of all processes."""
        return get_json(self.admin + "/v1/status")

    def ready(self) -> bool:
        """Whether everything answers now; False while a child is away."""
        try:
            with urllib.request.urlopen(self.admin + "/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except urllib.error.HTTPError as error:
            error.close()
            return False

    def pid(self, child: str) -> int | None:
        """Process id of `envoy`, `controller` or `picker`; None while it is away."""
        found = next(each["pid"] for each in self.status()["processes"] if each["name"] == child)
        return None if found is None else int(found)

    def decision(self, request_id: str) -> Any:
        """The decision record of a request."""
        return get_json(f"{self.admin}/v1/decisions/{request_id}")

    def decisions(self, limit: int) -> Any:
        """The newest decision records."""
        return get_json(f"{self.admin}/v1/decisions?limit={limit}")

    def pools(self) -> Any:
        """The picker's view of its pools."""
        return (self.status()["picker"] or {}).get("pools", [])

    def in_flight(self) -> int:
        """Requests the picker believes to be running."""
        return sum(int(pool["in_flight"]) for pool in self.pools())

    def endpoints(self) -> set[str]:
        """Endpoints the picker may choose."""
        return {
            each["endpoint"] for pool in self.pools() for each in pool["endpoints"] if not each["leaving"]
        }

    def saturation(self, key: str) -> float:
        """A pool's saturation; 1: every endpoint has its fill."""
        return next(float(pool["saturation"]) for pool in self.pools() if pool["pool"] == key)

    def problems(self) -> Any:
        """What the controller complains about."""
        return (self.status()["gateway"] or {}).get("problems", [])


@contextmanager
def gateway(*args: str) -> Iterator[Gateway]:
    """`headgate run ARGS` on free ports, ready to serve."""
    ports = [
        "--port",
        "--picker-port",
        "--picker-health-port",
        "--metrics-port",
        "--xds-port",
        "--admin-port",
    ]
    zeros = [part for port in ports for part in (port, "0")]
    child = Child(
        [*HEADGATE, "run", "--output", "json", "--host", "127.0.0.1", "--drain-timeout", "2", *zeros, *args]
    )
    try:
        line = child.wait_for(lambda line: line.startswith("{") and json.loads(line).get("event") == "ready")
        yield Gateway(child, json.loads(line))
    finally:
        child.stop()


@contextmanager
def picker(*args: str) -> Iterator[Child]:
    """`headgate picker ARGS` alone, as behind another vendor's gateway; up until the block ends."""
    child = Child(
        [
            *HEADGATE,
            "picker",
            "--host",
            "127.0.0.1",
            "--grpc-health-port",
            "-1",
            "--metrics-port",
            "-1",
            *args,
        ]
    )
    try:
        port = int(args[args.index("--grpc-port") + 1])
        eventually(lambda: _accepts(port))
        yield child
    finally:
        child.stop()
