"""Starts real programs for tests and ends them with the test; waits for what comes a moment later."""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from headgate.app.processes.parent import end_with_parent

os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
"""Children are forked and replaced at once: what gRPC does between the two for the tests' own servers ends some
of them before they begin. Read when the first server or channel is made."""

HEADGATE = (sys.executable, "-m", "headgate")
"""The command, as this environment has it."""


class Child:
    """A child process whose output is kept, line by line. The kernel kills it when the tests end.

    To be made in the main thread: Linux takes the end of the thread that started a child for its parent's.
    """

    def __init__(self, args: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self.args = list(args)
        self.out: list[str] = []
        """Lines of its standard output so far."""
        self.err: list[str] = []
        """Lines of its standard error so far."""
        self._heard = 0
        self.process = subprocess.Popen(
            self.args,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200", **(env or {})},
            process_group=0,
            preexec_fn=end_with_parent(os.getpid()),
        )
        pipes = ((self.process.stdout, self.out), (self.process.stderr, self.err))
        self._readers = [threading.Thread(target=_read, args=pipe, daemon=True) for pipe in pipes]
        for reader in self._readers:
            reader.start()

    def wait_for(self, wanted: Callable[[str], bool], within_s: float = 30) -> str:
        """The next line of its standard output that *wanted* accepts; those before it count as heard.

        Raises:
            AssertionError: it ended, or the time is over; with what it said.
        """
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            reading = self._readers[0].is_alive()
            while self._heard < len(self.out):
                self._heard += 1
                if wanted(self.out[self._heard - 1]):
                    return self.out[self._heard - 1]
            if not reading:
                break
            time.sleep(0.02)
        raise AssertionError(f"never said it: {self}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, not to its children."""
        self.process.send_signal(number)

    def end(self, within_s: float = 20) -> int:
        """Wait until it ends by itself and all it said is here; its exit status."""
        status = self.process.wait(within_s)
        self._close()
        return status

    def stop(self, patience_s: float = 4) -> int:
        """SIGTERM, after *patience_s* a second one, then SIGKILL; its exit status."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                self.signal(number)
            try:
                return self.end(patience_s)
            except subprocess.TimeoutExpired:
                continue
        raise AssertionError(f"it cannot be killed: {self}")

    def _close(self) -> None:
        for reader in self._readers:
            reader.join(5)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def __str__(self) -> str:
        said = "\n".join([*self.out[-20:], *self.err[-40:]])
        return f"{' '.join(self.args[2:6])} (exit {self.process.poll()}) said:\n{said}"


def _read(pipe: Any, lines: list[str]) -> None:
    for line in pipe:
        lines.append(line.rstrip("\n"))


def run_headgate(*args: str, within_s: float = 60) -> "subprocess.CompletedProcess[str]":
    """`headgate ARGS` to its end."""
    return subprocess.run([*HEADGATE, *args], capture_output=True, text=True, timeout=within_s, check=False)


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
        except (OSError, AssertionError) as error:
            why = error
        if time.monotonic() > end:
            raise AssertionError(f"not within {within_s} s; last: {why!r}")
        time.sleep(every_s)


def _ports() -> Iterator[int]:
    """Ports of this process of the tests, in turn: below those that connections, gateways and others take."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first = 10_000 + 1000 * (worker % 8)
    return itertools.cycle(range(first, first + 1000))


_NEXT_PORTS = _ports()


def free_port() -> int:
    """A loopback port that nobody listens on now, and that none of the tests beside this one will be given."""
    for port in itertools.islice(_NEXT_PORTS, 1000):
        try:
            with socket.create_server(("127.0.0.1", port)):
                return port
        except OSError:
            continue
    raise AssertionError("no free port")


def accepts(port: int) -> bool:
    """True when somebody listens on the loopback port.

    Raises:
        OSError: nobody does.
    """
    with socket.create_connection(("127.0.0.1", port), 1):
        return True
