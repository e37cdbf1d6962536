"""`headgate run` as a child process for live tests: all ports free, ended with the test."""

import os
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from headgate.app.parent import end_with_parent

PORTS = (
    "--port",
    "--picker-port",
    "--picker-health-port",
    "--metrics-port",
    "--xds-port",
    "--admin-port",
)


class GatewayProcess:
    """A running `headgate run`; made by `gateway`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.events: list[dict[str, Any]] = []
        self.errors: list[str] = []
        self._arrived: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read_events, daemon=True),
            threading.Thread(target=self._read_errors, daemon=True),
        ]
        for reader in self._readers:
            reader.start()
        self.info: dict[str, Any] = {}
        """The `ready` event: url, admin, ports, pids, model, listeners, pools, problems."""

    @property
    def url(self) -> str:
        """Base URL of the gateway."""
        return f"http://127.0.0.1:{self.info['ports']['gateway']}"

    @property
    def admin(self) -> str:
        """Base URL of the admin API."""
        return str(self.info["admin"])

    @property
    def pid(self) -> int:
        """Of the supervisor."""
        return self.process.pid

    @property
    def stderr(self) -> str:
        """What it and its children said so far."""
        return "\n".join(self.errors)

    def child_pid(self, name: str) -> int | None:
        """Process id of `envoy`, `picker` or `controller` now; None while it is down."""
        return next(p["pid"] for p in self.status()["processes"] if p["name"] == name)  # type: ignore[no-any-return]

    def status(self) -> dict[str, Any]:
        """The admin API's /v1/status."""
        return self.get("/v1/status")

    def get(self, path: str) -> dict[str, Any]:
        """JSON from the admin API."""
        with urllib.request.urlopen(self.admin + path, timeout=10) as answer:
            content: dict[str, Any] = msgspec.json.decode(answer.read())
            return content

    def wait_event(self, name: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """The next event of this name on its stdout."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                event = self._arrived.get(timeout=max(0.01, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no {name} event within {timeout_s} s\n{self.stderr}") from None
            if event is None:
                raise AssertionError(f"it ended with {self.process.wait()}\n{self.stderr}")
            if event["event"] == name:
                return event

    def wait_until(self, reached: Any, timeout_s: float = 20.0) -> None:
        """Poll until *reached*() is true."""
        deadline = time.monotonic() + timeout_s
        while not reached():
            assert time.monotonic() < deadline, f"not within {timeout_s} s\n{self.stderr}"
            time.sleep(0.05)

    def ready(self) -> bool:
        """The admin API's /readyz."""
        try:
            return bool(self.get("/readyz")["ready"])
        except (urllib.error.URLError, OSError):
            return False

    def stop(self, timeout_s: float = 20.0) -> int:
        """SIGTERM, drain; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _read_events(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            event = msgspec.json.decode(line)
            self.events.append(event)
            self._arrived.put(event)
        self._arrived.put(None)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.errors.append(line.rstrip())

    def close(self) -> None:
        """End it at once, if it still runs, and the readers."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
        for reader in self._readers:
            reader.join(5)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


@contextmanager
def started(*arguments: str) -> Iterator[GatewayProcess]:
    """`headgate run *arguments* --output json` with every port 0 that is not given; not waited for."""
    free = [part for flag in PORTS if flag not in arguments for part in (flag, "0")]
    command = [sys.executable, "-m", "headgate", "run", *arguments, *free, "--output", "json"]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        process_group=0,
        preexec_fn=end_with_parent(os.getpid()),
    )
    gateway = GatewayProcess(process)
    try:
        yield gateway
    finally:
        gateway.close()


@contextmanager
def gateway(*arguments: str, ready_within_s: float = 40.0) -> Iterator[GatewayProcess]:
    """The same, waited for until it is ready.

    with gateway("http://127.0.0.1:9500", "--host", "127.0.0.1") as gw: requests.get(gw.url + "/v1/models")
    """
    with started(*arguments) as running:
        running.info = running.wait_event("ready", ready_within_s)
        yield running
