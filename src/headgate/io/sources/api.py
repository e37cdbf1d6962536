"""The contract of a source, and the one that follows files, folders, URLs and host names."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from headgate.io.sources.files import Files
from headgate.io.sources.gathered import Gathered
from headgate.io.sources.reader import Reader
from headgate.io.sources.resolve import Resolver, lookup_all
from headgate.io.sources.urls import objects_of
from headgate.io.sources.watch import FolderWatch
from headgate.model.objects import Object
from headgate.model.snapshot import Difference, Snapshot

POLL_S = 1.0
"""Files are looked at this often even when the system reported no change (network file systems)."""

RESOLVE_EVERY_S = 5.0

FIRST_ANSWER_S = 0.25
"""How long a snapshot with new host names waits for their addresses, so that they usually come together."""


class Source(Protocol):
    """Something that knows which objects count."""

    def changes(self) -> AsyncGenerator[Snapshot | Difference, None]:
        """All objects as they are now, then what changed, again and again. Whoever meets a snapshot later
        takes it for everything. Never ends by itself."""
        ...


def open_source(files: Sequence[Path], urls: Sequence[str]) -> Source:
    """A source over *files* (files and folders, followed) and bare *urls*.

    Raises:
        BadUrlError: a URL cannot be used.
    """
    return LiveSource(tuple(files), objects_of(urls) if urls else ())


def read_once(paths: Sequence[Path], resolve_s: float = 2.0) -> Snapshot:
    """Everything in *paths* as it is now; host names are resolved for at most *resolve_s* seconds."""
    gathered = Gathered(Files(paths))
    with Reader() as reader:
        beside = gathered.refresh(reader)
    addresses = lookup_all(gathered.kept.hosts, resolve_s)
    found = gathered.kept.news(msgspec.structs.replace(beside, addresses=addresses))
    assert isinstance(found, Snapshot), "what is told first is everything"
    return found


class LiveSource:
    """Follows files and folders, re-resolves host names; *fixed* objects are always there, unless a file has
    an object of the same identity."""

    def __init__(self, files: tuple[Path, ...], fixed: tuple[Object, ...] = ()) -> None:
        self._gathered = Gathered(Files(files), fixed)

    async def changes(self) -> AsyncGenerator[Snapshot | Difference, None]:
        """See `Source`."""
        gathered, kept = self._gathered, self._gathered.kept
        kept.begin()
        loop = asyncio.get_running_loop()
        async with FolderWatch() as watch:
            with Reader() as reader:
                names = Names(watch.nudge)
                while True:
                    beside = await asyncio.to_thread(gathered.refresh, reader)
                    if await watch.follow(gathered.folders):
                        continue  # what changed before the watch stood is seen by reading again
                    addresses = await names.of(kept.hosts, loop.time())
                    news = kept.news(msgspec.structs.replace(beside, addresses=addresses))
                    if news is not None:
                        yield news
                    await watch.changed(POLL_S)


class Names:
    """The addresses of the hosts that objects name, looked up again every now and then. Never waits long."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """*changed* is called on the running event loop when there are other addresses."""
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._answer = asyncio.Event()
        self._resolver = Resolver(self._answered)
        self._ask_at = self._loop.time()
        self._hosts: frozenset[str] | None = None

    async def of(self, hosts: frozenset[str], now: float) -> Mapping[str, tuple[str, ...]]:
        """What is known of *hosts*; those not known before are waited for a moment. The same instances in and
        out while nothing is new."""
        fresh = frozenset[str]() if hosts is self._hosts else self._resolver.follow(hosts)
        self._hosts = hosts
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
