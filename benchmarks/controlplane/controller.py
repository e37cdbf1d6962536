"""The controller in a process of its own, told what to do over a pipe."""

import asyncio
import gc
import logging
import multiprocessing
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from msgspec.structs import replace

from benchmarks.controlplane import objects
from headgate.app.controller.process import Controller
from headgate.app.processes.garbage import set_garbage_collection
from headgate.gateway.settings import GatewaySettings
from headgate.model.change import Change
from headgate.model.objects import ModelServer, Object
from headgate.model.snapshot import Difference, Snapshot

SETTLED_S = 60.0
"""Longest wait until Envoy has everything."""


class Pushed:
    """A source whose objects are pushed, as a cluster's API server does."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Snapshot | Difference] = asyncio.Queue()

    async def changes(self) -> AsyncGenerator[Snapshot | Difference, None]:
        """See `Source`."""
        while True:
            yield await self._queue.get()

    def begin(self, found: list[Object]) -> None:
        """The first objects."""
        self._queue.put_nowait(Snapshot(tuple(found)))

    def put(self, each: Object) -> None:
        """An object that is new, or another one."""
        self._queue.put_nowait(Difference((Change(each.identity, each),)))


class Serving:
    """A controller, and what the benchmark asks of it. Each answer is a number."""

    def __init__(self, folder: Path, port: int) -> None:
        self._folder = folder
        self._source = Pushed()
        self._controller = Controller(
            self._source,
            GatewaySettings(port=port, address="127.0.0.1", picker_address=f"unix:{folder}/picker.sock"),
        )
        self._found: list[Object] = []

    async def run(self, pipe: Connection) -> None:
        """Answer what comes until the other end is closed."""
        await self._controller.xds.start_unix(self._folder / "xds.sock")
        running = asyncio.create_task(self._controller.run())
        loop = asyncio.get_running_loop()
        asked: asyncio.Queue[tuple[str, tuple[Any, ...]] | None] = asyncio.Queue()

        def take() -> None:
            try:
                asked.put_nowait(pipe.recv())
            except EOFError:
                loop.remove_reader(pipe.fileno())
                asked.put_nowait(None)

        loop.add_reader(pipe.fileno(), take)
        pipe.send(0.0)
        while (told := await asked.get()) is not None:
            what, args = told
            pipe.send(await getattr(self, what)(*args))
        running.cancel()
        await asyncio.wait([running])
        await self._controller.xds.stop()

    async def begin(self, routes: int, pools: int, server: str, one_host: bool) -> float:
        """Serve so many routes; seconds until Envoy has acknowledged all."""
        self._found = objects.of_cluster(routes, pools, server, one_host)
        gc.collect()
        gc.freeze()
        before = time.monotonic()
        self._source.begin(self._found)
        await self._settled()
        return time.monotonic() - before

    async def _settled(self) -> None:
        async with asyncio.timeout(SETTLED_S):
            while not self._controller.xds.settled:  # noqa: ASYNC110 - nothing tells; a status costs more
                await asyncio.sleep(0.02)

    async def add_route(self, number: str, one_host: bool) -> float:
        """One more route; answers at once."""
        self._source.put(objects.answered_route(number, one_host))
        return 0.0

    async def endpoint_changes(self, count: int, a_second: float) -> float:
        """Change so many endpoints, *a_second* of them, one after the other; percent of one core that it takes
        meanwhile, Envoy's answers included."""
        servers = [
            each for each in self._found if isinstance(each, ModelServer) and each.name != objects.LIVE
        ]
        chosen = servers[:: max(1, len(servers) // count)][:count]
        others = [
            replace(each, spec=replace(each.spec, url=each.spec.url.replace("//10.", "//11.")))
            for each in chosen
        ]
        changes = list(islice(cycle([*others, *chosen]), count))
        await asyncio.sleep(0.5)
        used, began = time.process_time(), time.monotonic()
        for number, each in enumerate(changes, 1):
            self._source.put(each)
            await asyncio.sleep(max(0, began + number / a_second - time.monotonic()))
        return (time.process_time() - used) * 100 / (time.monotonic() - began)

    async def memory(self) -> float:
        """Resident MiB."""
        return resident_mib("self")


def cpu_s(process: int) -> float:
    """Seconds of processor that a process has used, all its threads."""
    return (
        sum(int(each.read_text().split()[0]) for each in Path(f"/proc/{process}/task").glob("*/schedstat"))
        / 1e9
    )


def resident_mib(process: int | str) -> float:
    """Memory of a process that is resident, in MiB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


class Asked:
    """The other end of the pipe."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe

    def __call__(self, what: str, *args: object) -> float:
        """Ask for one of the methods of `Serving`."""
        self._pipe.send((what, args))
        return float(self._pipe.recv())


@contextmanager
def serving(folder: Path, port: int) -> Iterator[Asked]:
    """A controller for an Envoy whose files are in *folder*, up until the block ends."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_main, args=(folder, port, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield Asked(ours)
    finally:
        ours.close()
        process.join(5)
        process.kill()
        process.join()


def _main(folder: Path, port: int, pipe: Connection) -> None:
    logging.disable(logging.ERROR)
    set_garbage_collection()
    uvloop.run(Serving(folder, port).run(pipe))
