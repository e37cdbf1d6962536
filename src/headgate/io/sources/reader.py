"""Reads files through a worker process: killed when it takes too long, started again when needed."""

import contextlib
import pickle
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from headgate.io.sources.frames import receive, send
from headgate.io.sources.listing import Listing
from headgate.io.sources.reading import Parsed, refused
from headgate.io.sources.worker import HELLO, cpu_s

START_S = 30.0
LIST_S = 30.0
END_S = 1.0

ENOUGH_BYTES = 8 << 20
"""After so much text a worker is replaced: it keeps the memory that reading took."""


class ReaderError(Exception):
    """Nothing can be read now; the message says why."""


class Reader:
    """One worker at a time, started when something is to be read. Blocks; `close` may be called meanwhile."""

    def __init__(self) -> None:
        self._worker: subprocess.Popen[bytes] | None = None
        self._line: socket.socket | None = None
        self._spent = 0
        self._told: Listing | None = None
        """As the worker that runs now told it last."""
        self._stuck: list[subprocess.Popen[bytes]] = []
        """Killed, and not ended yet: a file system holds them."""
        self._closed = False
        self._busy = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of the worker that runs now."""
        return None if self._worker is None else self._worker.pid

    def __enter__(self) -> Self:
        """Closed at the end of the context."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """See `close`."""
        self.close()

    def listing(self, paths: Sequence[Path]) -> Listing:
        """The files of *paths* now. Raises ReaderError."""
        with self._busy:
            for fresh in (self._worker is None, True):
                try:
                    return self._list(paths)
                except TimeoutError:
                    self._end()
                    raise ReaderError(f"listing them takes longer than {LIST_S:g} s") from None
                except (EOFError, OSError):
                    self._end()
                    if fresh or self._closed:
                        break
            raise ReaderError("the process that reads them ended")

    def read(self, files: Sequence[tuple[Path, int]]) -> Sequence[tuple[Path, Parsed]]:
        """What *files*, each with its size in bytes, say; one that harms the worker is refused.

        Raises ReaderError.
        """
        found: list[tuple[Path, Parsed]] = []
        with self._busy:
            while left := files[len(found) :]:
                try:
                    self._ask("read", [path for path, _ in left])
                except OSError as error:
                    self._end()
                    raise ReaderError(f"the process that reads them does not listen: {error}") from None
                found += self._answers(left)
            if self._spent > ENOUGH_BYTES:
                self._end()
        return found

    def close(self) -> None:
        """End the worker at once. Who waits for it gets a ReaderError, as everybody later."""
        self._closed = True
        with contextlib.suppress(OSError):
            if self._line is not None:
                self._line.shutdown(socket.SHUT_RDWR)
        if self._busy.acquire(timeout=END_S):
            try:
                self._end()
            finally:
                self._busy.release()

    def _list(self, paths: Sequence[Path]) -> Listing:
        self._ask("list", paths)
        assert self._line is not None
        found: Listing | None = _loaded(receive(self._line, LIST_S))
        self._told = found or self._told
        assert self._told is not None, "a worker tells its first listing whole"
        return self._told

    def _answers(self, files: Sequence[tuple[Path, int]]) -> list[tuple[Path, Parsed]]:
        """As many as there are, the one that ended the worker last."""
        found: list[tuple[Path, Parsed]] = []
        for path, size in files:
            assert self._line is not None
            try:
                parsed = _loaded(receive(self._line, cpu_s(size)))
            except TimeoutError:
                message = f"takes longer than {cpu_s(size):.0f} s to be read; mend or remove it"
            except (EOFError, OSError):
                if self._closed:
                    self._end()
                    raise ReaderError("no longer wanted") from None
                message = "reading it ended the process that reads; mend or remove it"
            else:
                self._spent += size
                found.append((path, parsed))
                continue
            self._end()
            found.append((path, refused(path, "Refused", message, "later")))
            break
        return found

    def _ask(self, what: str, paths: Sequence[Path]) -> None:
        """Raises OSError and ReaderError."""
        if self._worker is None:
            self._start()
        assert self._line is not None
        self._line.settimeout(LIST_S)
        send(self._line, pickle.dumps((what, tuple(paths))))

    def _start(self) -> None:
        self._stuck = [each for each in self._stuck if each.poll() is None]
        if self._closed or self._stuck:
            raise ReaderError("their file system does not answer" if self._stuck else "no longer wanted")
        self._line, its = socket.socketpair()
        self._spent, self._told = 0, None
        command = [sys.executable, "-P", "-m", "headgate.io.sources.worker"]
        try:
            with its:
                # Its own group: a terminal's Ctrl-C is for those who then close this.
                self._worker = subprocess.Popen(
                    command, stdin=its.fileno(), stdout=subprocess.DEVNULL, process_group=0
                )
            if _loaded(receive(self._line, START_S)) != HELLO:
                raise EOFError
        except (OSError, EOFError) as error:
            self._end()
            raise ReaderError(f"the process that reads them does not start {error or ''}".strip()) from None

    def _end(self) -> None:
        worker, self._worker = self._worker, None
        line, self._line = self._line, None
        if line is not None:
            line.close()
        if worker is not None:
            worker.kill()
            try:
                worker.wait(END_S)
            except subprocess.TimeoutExpired:
                self._stuck.append(worker)


def _loaded(message: bytes) -> Any:
    return pickle.loads(message)  # noqa: S301 - from a process of ours, whose YAML loader makes plain data only
