"""Envoy's access log through a named pipe: chunks of whole lines, on a thread of its own.

Envoy keeps all lines that a pipe does not take, so the pipe is always read. Every life of Envoy is one file:
a line that it did not finish is thrown away.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from headgate.model.printable import printable_json

CHUNK = 1 << 16
"""Bytes read at once: what a pipe holds."""

LONGEST_LINE = 1 << 20
"""A line that is longer is thrown away."""


class AccessPipe:
    """Reads the pipe from its making until `close`."""

    def __init__(self, path: Path, take: Callable[[bytes], None]) -> None:
        """Make the pipe at *path*; *take* gets whole lines, safe to show, on another thread.

        Raises OSError when it cannot be made.
        """
        os.mkfifo(path, 0o600)
        self._path = path
        self._take = take
        self._closing = False
        self._thread = threading.Thread(target=self._read, name="access-log", daemon=True)
        self._thread.start()

    def close(self, grace_s: float) -> None:
        """Read what an Envoy that has ended left behind, for *grace_s* seconds at most."""
        self._closing = True
        until = time.monotonic() + grace_s
        while self.runs and time.monotonic() < until:
            with contextlib.suppress(OSError):  # a thread that waits for a writer is woken
                os.close(os.open(self._path, os.O_WRONLY | os.O_NONBLOCK))
            self._thread.join(0.02)

    @property
    def runs(self) -> bool:
        """Whether the pipe is still read."""
        return self._thread.is_alive()

    def _read(self) -> None:
        while not self._closing:
            try:
                fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError:
                return
            try:
                relay(fd, self._take)
            finally:
                os.close(fd)


def relay(fd: int, take: Callable[[bytes], None]) -> None:
    """Read *fd* to its end: *take* gets whole lines, never the rest behind the last one."""
    rest = b""
    while chunk := os.read(fd, CHUNK):
        end = chunk.rfind(b"\n") + 1
        if end:
            take(shown(rest + chunk[:end]))
            rest = chunk[end:]
        elif len(rest) < LONGEST_LINE:
            rest += chunk
        else:
            rest = b""


def shown(lines: bytes) -> bytes:
    """*lines* of JSON, what may steer a terminal written out; they are ASCII nearly always."""
    if lines.isascii() and b"\x7f" not in lines:
        return lines
    return printable_json(lines.decode("utf-8", "backslashreplace").encode()).encode()
