"""Tells that something changed in a set of folders. A hint only: who asks looks for itself."""

import asyncio
import contextlib
from pathlib import Path
from types import TracebackType
from typing import Self

from watchfiles import awatch

QUIET_MS = 40
"""A burst of changes is one change, told after this silence…"""
LONGEST_MS = 400
"""…or after this long, if there is no silence."""

AGAIN_S = 1.0
"""Between a watch that failed and the next."""


class FolderWatch:
    """Watches folders, not what is below them, for as long as the context lasts."""

    def __init__(self) -> None:
        self._folders: frozenset[Path] = frozenset()
        self._hint = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        """Begin, with no folder."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop watching."""
        await self._stop()

    async def follow(self, folders: frozenset[Path]) -> bool:
        """Watch exactly *folders*. True when that is a change, after which the watch stands."""
        if folders == self._folders:
            return False
        await self._stop()
        self._folders = folders
        self._task = asyncio.create_task(self._watch(folders))
        await asyncio.sleep(0)  # the task has opened its watch when it first waits
        return True

    def nudge(self) -> None:
        """Something else changed: who waits looks again."""
        self._hint.set()

    async def changed(self, longest_s: float) -> None:
        """Wait for a change, at most *longest_s* seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(longest_s):
                await self._hint.wait()
        self._hint.clear()

    async def _watch(self, folders: frozenset[Path]) -> None:
        while True:
            # Where the system cannot watch (no permission, too many watches, a name that is no text), looking
            # every now and then must do.
            with contextlib.suppress(Exception):
                async for _ in awatch(
                    *sorted(folders), watch_filter=None, debounce=LONGEST_MS, step=QUIET_MS, recursive=False
                ):
                    self._hint.set()
            await asyncio.sleep(AGAIN_S)

    async def _stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
