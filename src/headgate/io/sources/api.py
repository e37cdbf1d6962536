"""The contract of a source, and the one that follows files, folders, URLs and host names."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from headgate.io.sources.api_keys import ApiKeys
from headgate.io.sources.authorities import Authorities
from headgate.io.sources.files import Files
from headgate.io.sources.reader import Reader
from headgate.io.sources.resolve import Resolver, hosts_of
from headgate.io.sources.secret_files import SecretFiles
from headgate.io.sources.urls import objects_of
from headgate.io.sources.watch import FolderWatch
from headgate.model.objects import Object
from headgate.model.snapshot import Snapshot

POLL_S = 1.0
"""Files are looked at this often even when the system reported no change (network file systems)."""

RESOLVE_EVERY_S = 5.0

FIRST_ANSWER_S = 0.25
"""How long a snapshot with new host names waits for their addresses, so that they usually come together."""


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
        self._secret_files = SecretFiles()
        self._authorities = Authorities()
        self._keys = ApiKeys()

    async def snapshots(self) -> AsyncGenerator[Snapshot, None]:
        """See `Source`."""
        last: Snapshot | None = None
        loop = asyncio.get_running_loop()
        async with FolderWatch() as watch:
            with Reader() as reader:
                names = Names(watch.nudge)
                while True:
                    read = await asyncio.to_thread(self._read, reader)
                    if await watch.follow(self._files.folders):
                        continue  # what changed before the watch stood is seen by reading again
                    addresses = await names.of(read.objects, loop.time())
                    snapshot = msgspec.structs.replace(read, addresses=addresses)
                    if last is None or not same(last, snapshot):
                        last = snapshot
                        yield snapshot
                    await watch.changed(POLL_S)

    def _read(self, reader: Reader) -> Snapshot:
        """Without addresses."""
        objects, problems = self._files.refresh(reader)
        if self._fixed:
            merged = {each.identity: each for each in (*self._fixed, *objects)}
            objects = tuple(merged[identity] for identity in sorted(merged))
        objects, unread = self._secret_files.read(objects)
        authorities, more = self._authorities.read(objects)
        keys, wrong = self._keys.read(objects)
        return Snapshot(objects, {}, (*problems, *unread, *more, *wrong), authorities, keys)


class Names:
    """The addresses of the hosts that objects name, looked up again every now and then. Never waits long."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """*changed* is called on the running event loop when there are other addresses."""
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._answer = asyncio.Event()
        self._resolver = Resolver(self._answered)
        self._ask_at = self._loop.time()

    async def of(self, objects: tuple[Object, ...], now: float) -> Mapping[str, tuple[str, ...]]:
        """What is known of the hosts in *objects*; those not known before are waited for a moment."""
        hosts = hosts_of(objects)
        fresh = self._resolver.follow(hosts)
        if now >= self._ask_at:
            self._ask_at = now + RESOLVE_EVERY_S
            self._resolver.ask(hosts)
        elif fresh:
            self._resolver.ask(fresh)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_ANSWER_S):
                while fresh & self._resolver.unheard:
                    self._answer.clear()
                    await self._answer.wait()
        return self._resolver.addresses()

    def _answered(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        self._answer.set()
        self._changed()


def same(a: Snapshot, b: Snapshot) -> bool:
    """Whether two snapshots say the same, lines of the objects included (later problems name them)."""
    return a == b and all(x.origin.lines == y.origin.lines for x, y in zip(a.objects, b.objects, strict=True))
