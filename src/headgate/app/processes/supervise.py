"""Child processes with a life: started, watched, restarted with backoff, ended with their parent."""

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Literal

import msgspec

from headgate.app.processes.lines import Line, event, read_line
from headgate.app.processes.parent import SUPERVISORS_END, supervised_by
from headgate.io.bounded_log import BoundedLog

log = logging.getLogger("headgate.run")

State = Literal["new", "running", "waiting", "stopped"]

MAX_LINE = 64 * 1024
"""A child's line that is longer is cut."""


class ProcessState(msgspec.Struct, frozen=True):
    """A child process as `status` shows it. Times in seconds."""

    name: str
    state: State
    pid: int | None
    restarts: int
    uptime_s: float | None
    serving_s: float | None
    """Since when it is seen to do its work; None: not yet."""
    last_exit: int | None
    """Exit code of the one before; negative: the signal that ended it."""


class Backoff:
    """The wait before the next start: none after a life that went well, doubling in a crash loop."""

    def __init__(
        self, first_s: float = 0.2, longest_s: float = 10.0, served_s: float = 1.0, calm_s: float = 20.0
    ) -> None:
        """A life went well that served for *served_s* seconds, or lasted for *calm_s*."""
        self._first_s = first_s
        self._longest_s = longest_s
        self._served_s = served_s
        self._calm_s = calm_s
        self._next_s = first_s

    def after(self, lived_s: float, served_s: float = 0.0) -> float:
        """The wait after a child that lived for *lived_s* seconds, the last *served_s* of them serving."""
        if served_s >= self._served_s or lived_s >= self._calm_s:
            self._next_s = self._first_s
            return 0.0
        wait = self._next_s
        self._next_s = min(2 * wait, self._longest_s)
        return wait


class Child:
    """One child process in its own process group: Ctrl-C in the terminal reaches the parent alone.

    Where the kernel lets it, neither SIGTERM nor SIGINT ends it: whoever sends these to all processes of a
    service means the parent, which ends its children in order.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        say: Callable[[str, Line], None],
        environ: Mapping[str, str] | None = None,
    ) -> None:
        """Runs *command*; each line it prints goes to *say* with its name."""
        self.name = name
        self._command = tuple(command)
        self._say = say
        self._complaints = BoundedLog()
        """Of what it says of requests: Envoy warns of each one while there is no picker."""
        self._environ = environ
        self._process: asyncio.subprocess.Process | None = None
        self._backoff = Backoff()
        self._stop_asked = asyncio.Event()
        self._started_at = 0.0
        self._serves_since: float | None = None
        self._starts = 0
        self._last_exit: int | None = None
        self._state: State = "new"

    @property
    def state(self) -> ProcessState:
        """What it is doing now."""
        running = self._state == "running" and self._process is not None
        now = asyncio.get_running_loop().time()
        serving_s = None if self._serves_since is None else int(10 * (now - self._serves_since)) / 10
        return ProcessState(
            name=self.name,
            state=self._state,
            pid=self._process.pid if running and self._process is not None else None,
            restarts=max(0, self._starts - 1),
            uptime_s=round(now - self._started_at, 1) if running else None,
            serving_s=serving_s if running else None,
            last_exit=self._last_exit,
        )

    @property
    def runs(self) -> bool:
        """Whether there is a process now."""
        return self._process is not None and self._process.returncode is None

    @property
    def unproved(self) -> int | None:
        """The number of its present life, while nobody said that it serves; else None."""
        return self._starts if self.runs and self._serves_since is None else None

    def serves(self, life: int) -> None:
        """It was seen to do its work in its life number *life*: a reason to start it again at once."""
        if life == self.unproved:
            self._serves_since = asyncio.get_running_loop().time()

    def retire(self) -> None:
        """Should it end, it is not started again."""
        self._stop_asked.set()

    async def run(self) -> None:
        """Keep it running until `stop`; cancelling kills it."""
        now = asyncio.get_running_loop().time
        try:
            while True:
                self._started_at, self._serves_since = now(), None
                code = await self._once()
                if self._stop_asked.is_set():
                    return
                served_s = 0.0 if self._serves_since is None else now() - self._serves_since
                wait = self._backoff.after(now() - self._started_at, served_s)
                self._state = "waiting"
                when, how = f"in {wait:.1f} s" if wait else "at once", how_ended(code)
                told = event("process", process=self.name, ended=how, again_in_s=wait)
                log.warning("%s ended (%s); starting it again %s", self.name, how, when, extra=told)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._stop_asked.wait()
                        return
        finally:
            self._state = "stopped"
            self.signal(signal.SIGKILL)

    async def stop(self, grace_s: float) -> None:
        """Ask it to end, and kill it after *grace_s* seconds; 0 is for those who lost patience."""
        self.retire()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.signal(SUPERVISORS_END)
        try:
            async with asyncio.timeout(grace_s):
                await process.wait()
        except TimeoutError:
            if grace_s > 0:
                log.warning("%s does not end, killing it", self.name)
            self.signal(signal.SIGKILL)
            await process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to its whole process group, if it runs."""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _once(self) -> int:
        """One life; its exit code."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env=None if self._environ is None else dict(self._environ),
                limit=MAX_LINE,
                process_group=0,
                preexec_fn=supervised_by(os.getpid()),
            )
        except OSError as error:
            log.error("%s cannot be started: %s", self.name, error)
            return 127
        self._state = "running"
        self._starts += 1
        assert self._process.stdout is not None
        await self._relay(self._process.stdout)
        self._last_exit = await self._process.wait()
        return self._last_exit

    async def _relay(self, lines: asyncio.StreamReader) -> None:
        while True:
            try:
                line = await lines.readline()
            except ValueError:  # longer than MAX_LINE: the reader has thrown it away
                continue
            if not line:
                return
            told = read_line(line.decode(errors="replace").rstrip())
            if told.event == "log" and told.level in ("warning", "error"):
                text = self._complaints.bounded(told.text)
                if text is None:
                    continue
                told = msgspec.structs.replace(told, text=text)
            self._say(self.name, told)


def how_ended(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
