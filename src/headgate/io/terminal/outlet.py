"""Standard output that never makes its writers wait: a queue, and a thread that empties it.

Whoever reads a program's output may stop reading. What waits then is bounded: beyond it lines that may be
lost are counted instead of kept, and the count is told once there is room again.
"""

import io
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

MAY_BE_LOST = 4 << 20
"""Bytes that wait at most for lines that may be lost to be taken."""

MUST_BE_KEPT = 8 << 20
"""The same for all others."""


class Outlet:
    """Writes to a file descriptor in the order of `put`, each of its texts in one piece."""

    def __init__(self, fd: int, lost: Callable[[int], bytes]) -> None:
        """*lost* makes the line that tells of a number of lost lines."""
        self._fd = fd
        self._lost_line = lost
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._lost = 0
        self._dead: OSError | None = None
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._write, name="outlet", daemon=True)
        self._thread.start()

    def offer(self, lines: bytes) -> None:
        """Take whole *lines*, or count them as lost. From any thread; never waits."""
        with self._changed:
            if self._dead is None and self._bytes + len(lines) <= MAY_BE_LOST:
                self._add(lines)
            else:
                self._lost += lines.count(b"\n")

    def put(self, text: bytes) -> None:
        """Take *text*. From any thread; never waits. Raises OSError when nobody can hear it."""
        with self._changed:
            if self._dead is not None:
                raise self._dead
            if self._bytes + len(text) > MUST_BE_KEPT:
                raise BlockingIOError("standard output is not read")
            self._add(text)

    def close(self, grace_s: float) -> None:
        """Write what waits, for *grace_s* seconds at most."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join(grace_s)

    def _add(self, text: bytes) -> None:
        self._waiting.append(text)
        self._bytes += len(text)
        self._changed.notify()

    def _write(self) -> None:
        while (text := self._next()) is not None:
            try:
                rest = memoryview(text)
                while rest:
                    rest = rest[os.write(self._fd, rest) :]
            except OSError as error:
                with self._changed:
                    self._dead = error
                    self._waiting.clear()
                return
            with self._changed:
                self._bytes -= len(text)

    def _next(self) -> bytes | None:
        """What to write now; None: nothing will come any more."""
        with self._changed:
            while not self._waiting and not self._closing:
                self._changed.wait()
            if self._lost and self._bytes <= MAY_BE_LOST // 2:
                self._add(self._lost_line(self._lost))
                self._lost = 0
            return self._waiting.popleft() if self._waiting else None


class OutletText(io.TextIOBase):
    """A text stream over an outlet, to be `sys.stdout`: each flush hands on all that was written since."""

    def __init__(self, outlet: Outlet, fd: int) -> None:
        self._outlet = outlet
        self._fd = fd
        self._parts: list[str] = []

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """UTF-8, in which JSON is written."""
        return "utf-8"

    def writable(self) -> bool:
        """See io."""
        return True

    def isatty(self) -> bool:
        """See io."""
        return os.isatty(self._fd)

    def fileno(self) -> int:
        """See io."""
        return self._fd

    def write(self, text: str) -> int:
        """See io."""
        self._parts.append(text)
        return len(text)

    def flush(self) -> None:
        """See io; raises OSError when nobody can hear it."""
        text, self._parts = "".join(self._parts), []
        if text:
            self._outlet.put(text.encode("utf-8", "backslashreplace"))


@contextmanager
def queued_stdout(lost: Callable[[int], bytes], grace_s: float = 2.0) -> Iterator[Outlet]:
    """Standard output as an outlet, for `print` and its like too; *lost*: see `Outlet`.

    At the end what waits is written, for *grace_s* seconds at most.
    """
    before = sys.stdout
    before.flush()
    outlet = Outlet(before.fileno(), lost)
    sys.stdout = OutletText(outlet, before.fileno())
    try:
        yield outlet
    finally:
        sys.stdout = before
        outlet.close(grace_s)
