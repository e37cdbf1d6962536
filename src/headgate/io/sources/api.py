"""The contract of a source, and the one that follows files, folders, URLs and host names."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol

from headgate.io.sources.files import Files
from headgate.io.sources.resolve import Resolver, hosts_of
from headgate.io.sources.urls import objects_of
from headgate.io.sources.watch import FolderWatch
from headgate.model.objects import Object
from headgate.model.problems import Problem
from headgate.model.snapshot import Snapshot

POLL_S = 1.0
"""Files are looked at this often even when the system reported no change (network file systems)."""

RESOLVE_EVERY_S = 5.0


class Source(Protocol):
    """Something that knows which objects count."""

    def snapshots(self) -> AsyncGenerator[Snapshot, None]:
        """The objects as they are now, then again whenever anything changed. Never ends by itself."""
        ...


def open_source(files: Sequence[Path], urls: Sequence[str]) -> Source:
    """A source over *files* (files and folders, followed) and bare *urls*.

    Raises:
        BadUrlError: a URL cannot be used.
    """
    return LiveSource(tuple(files), objects_of(urls) if urls else ())


class LiveSource:
    """Follows files and folders, re-resolves host names; *fixed* objects are always there, unless a file has
    an object of the same identity."""

    def __init__(self, files: tuple[Path, ...], fixed: tuple[Object, ...] = ()) -> None:
        self._files = Files(files)
        self._fixed = fixed
        self._resolver = Resolver()

    async def snapshots(self) -> AsyncGenerator[Snapshot, None]:
        """See `Source`."""
        last: Snapshot | None = None
        loop = asyncio.get_running_loop()
        resolve_at = loop.time()
        async with FolderWatch() as watch:
            while True:
                objects, problems = await asyncio.to_thread(self._read)
                if await watch.follow(self._files.folders):
                    continue  # what changed before the watch stood is seen by reading again
                hosts = hosts_of(objects)
                due = loop.time() >= resolve_at
                await self._resolver.refresh(hosts if due else self._resolver.fresh(hosts))
                if due:
                    resolve_at = loop.time() + RESOLVE_EVERY_S
                snapshot = Snapshot(objects, self._resolver.addresses(hosts), problems)
                if last is None or not same(last, snapshot):
                    last = snapshot
                    yield snapshot
                await watch.changed(POLL_S)

    def _read(self) -> tuple[tuple[Object, ...], tuple[Problem, ...]]:
        objects, problems = self._files.refresh()
        if not self._fixed:
            return objects, problems
        merged = {each.identity: each for each in (*self._fixed, *objects)}
        return tuple(merged[identity] for identity in sorted(merged)), problems


def same(a: Snapshot, b: Snapshot) -> bool:
    """Whether two snapshots say the same, lines of the objects included (later problems name them)."""
    return a == b and all(x.origin.lines == y.origin.lines for x, y in zip(a.objects, b.objects, strict=True))
