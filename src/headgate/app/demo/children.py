"""The demo's child processes, `headgate fleet` and `headgate run`, and the JSON lines they print."""

import asyncio
import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

START_S = 40.0
"""Longest time for a child to get ready: a cold start on a busy machine."""
STOP_S = 8.0
KEPT_LINES = 30


_PROGRAM = (
    "from headgate.app.processes.parent import die_with_parent; from headgate.cli.main import main; "
    "die_with_parent(); main()"
)


class ChildError(Exception):
    """A child that did not get ready; the message ends with what it said last."""


class Child:
    """A running `headgate` child. Made by `started`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self._name = name
        self._process = process
        self._lines: asyncio.Queue[bytes] = asyncio.Queue(10_000)
        self._said: deque[str] = deque(maxlen=KEPT_LINES)
        self._readers: list[asyncio.Task[None]] = []

    def listen(self) -> None:
        """Begin to read what it prints."""
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._readers = [
            asyncio.create_task(self._read(self._process.stdout, self._lines)),
            asyncio.create_task(self._read(self._process.stderr, None)),
        ]

    async def message(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Mapping[str, Any]:
        """The next JSON object on its standard output that is *wanted*.

        Raises:
            ChildError: it ended, or said nothing of the kind in time.
        """
        try:
            async with asyncio.timeout(START_S):
                while True:
                    found = _object(await self._line())
                    if found is not None and wanted(found):
                        return found
        except TimeoutError:
            raise self._failed(f"was not ready after {START_S:g} s") from None

    async def _line(self) -> bytes:
        """The next line of its standard output; raises ChildError when there is none any more."""
        line = asyncio.ensure_future(self._lines.get())
        try:
            await asyncio.wait({line, self._readers[0]}, return_when=asyncio.FIRST_COMPLETED)
            if not line.done() and self._lines.empty():
                code = await self._process.wait()
                await asyncio.wait(self._readers, timeout=1)
                raise self._failed(f"ended with exit code {code}")
            return await line
        finally:
            line.cancel()

    def _failed(self, what: str) -> ChildError:
        return ChildError("\n".join([f"headgate {self._name} {what}; it said last:", *self._said]))

    async def _read(self, stream: asyncio.StreamReader, lines: asyncio.Queue[bytes] | None) -> None:
        with contextlib.suppress(ValueError):  # a line longer than the reader's bound
            async for line in stream:
                self._said.append(line.decode(errors="replace").rstrip())
                if lines is not None and not lines.full():
                    lines.put_nowait(line)

    async def stop(self) -> None:
        """End it: ask, ask again, then by force."""
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGKILL):
            if self._process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.send_signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(STOP_S):
                    await self._process.wait()
                    break
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)


def _object(line: bytes) -> Mapping[str, Any] | None:
    try:
        return msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        return None


@asynccontextmanager
async def started(verb: str, args: Sequence[str]) -> AsyncIterator[Child]:
    """`headgate VERB ARGS…` as a child that ends with the context, and with this process.

    It has a session of its own, so that Ctrl-C comes to the demo alone.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _PROGRAM, verb, *args),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        start_new_session=True,
        limit=1 << 20,
    )
    child = Child(verb, process)
    try:
        child.listen()
        yield child
    finally:
        await asyncio.shield(child.stop())
