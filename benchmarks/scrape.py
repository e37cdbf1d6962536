"""What scraping costs: CPU per scrape and share of a core, beside the same GETs done by hand.

    python -m benchmarks.scrape [--endpoints 8,128] [--seconds 4] [--rounds 3]

The model servers are one process of its own, with a port each and a page like vLLM's whose counters move; every
second one sends it chunked. `sockets` asks for the same pages at the same pace over blocking sockets and reads
nothing; `scraper` is what the picker runs, `picker` adds what its machine does with the events. CPU is that of the
asking process, user and system.
"""

import argparse
import asyncio
import multiprocessing
import random
import re
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import uvloop
from rich.table import Table

from headgate.io.scrape import Scraper
from headgate.io.terminal.console import PlainConsole
from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import PoolKey, endpoint_id
from headgate.picker.events import ModelsListed, PoolChanged, Scraped
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.profiles import PROFILES

SAVED = Path(__file__).parent.parent / "tests/unit/engines/data/vllm.txt"
INTERVAL_S = 0.2
COUNTER = re.compile(rb"^vllm:generation_tokens_total\{.*\} ", re.MULTILINE)
LAST = b"bench_end 1.0\n"


def page(size: int) -> tuple[bytes, bytes]:
    """A saved page of vLLM without its last histograms, until it has *size* bytes: before and after a counter."""
    families = re.split(rb"(?=^# HELP )", SAVED.read_bytes(), flags=re.MULTILINE)
    for number in reversed(range(len(families))):
        if sum(map(len, families)) > size and b" histogram" in families[number]:
            del families[number]
    whole = b"".join(families) + LAST
    cut = COUNTER.search(whole)
    assert cut is not None
    return whole[: cut.end()], whole[whole.index(b"\n", cut.end()) :]


class Server(asyncio.Protocol):
    """One connection to a model server."""

    served = 100_000_000

    def __init__(self, parts: tuple[bytes, bytes], chunked: bool) -> None:
        self._head, self._tail = parts
        self._chunked = chunked

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"GET /metrics "):
            Server.served += 7
            body = b"%s%d.0%s" % (self._head, Server.served, self._tail)
        else:
            body = b'{"data":[{"id":"bench-model"}]}'
        head = b"HTTP/1.1 200 OK\r\ndate: Mon, 06 Oct 2025 08:00:00 GMT\r\nserver: uvicorn\r\ncontent-type: text/plain\r\n"
        if self._chunked:
            framed = b"transfer-encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        else:
            framed = b"content-length: %d\r\n\r\n%s" % (len(body), body)
        self._transport.write(head + framed)


async def serve(count: int, size: int, ports: Connection) -> None:
    """*count* model servers; *ports* is told where."""
    loop = asyncio.get_running_loop()
    parts = page(size)
    servers = [
        await loop.create_server(partial(Server, parts, bool(number % 2)), "127.0.0.1", 0)
        for number in range(count)
    ]
    ports.send([server.sockets[0].getsockname()[1] for server in servers])
    await asyncio.Event().wait()


def serving(count: int, size: int, ports: Connection) -> None:
    """The servers' process."""
    uvloop.run(serve(count, size, ports))


@contextmanager
def model_servers(count: int, size: int) -> Iterator[tuple[Endpoint, ...]]:
    """The endpoints of *count* servers, up until the block ends."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serving, args=(count, size, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        made = [Endpoint(endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s") for port in ours.recv()]
        yield tuple(sorted(made, key=lambda one: one.id))
    finally:
        process.kill()
        process.join()


def by_sockets(endpoints: tuple[Endpoint, ...], seconds: float) -> tuple[float, int]:
    """CPU seconds and number of GETs over blocking sockets, evenly spread."""
    sockets = [socket.create_connection((one.ip, one.port)) for one in endpoints]
    asked = [b"GET /metrics HTTP/1.1\r\nHost: %s\r\n\r\n" % one.id.encode() for one in endpoints]
    pause = INTERVAL_S / len(endpoints)
    done = 0
    before, start = time.process_time(), time.monotonic()
    while (now := time.monotonic()) < start + seconds:
        if now < start + done * pause:
            time.sleep(start + done * pause - now)
        each = sockets[done % len(sockets)]
        each.sendall(asked[done % len(sockets)])
        answer = b""
        while LAST not in answer[-len(LAST) - 8 :]:
            answer += each.recv(1 << 16)
        done += 1
    spent = time.process_time() - before
    for each in sockets:
        each.close()
    return spent, done


async def _counted(
    seconds: float, running: Callable[[Callable[[object], None]], asyncio.Task[None]]
) -> tuple[float, int]:
    """CPU seconds and number of events that a task emits, after a warm-up of a second."""
    done = 0

    def count(event: object) -> None:
        nonlocal done
        done += isinstance(event, Scraped) and event.load is not None

    task = running(count)
    await asyncio.sleep(1.0)
    done = 0
    before = time.process_time()
    await asyncio.sleep(seconds)
    spent = time.process_time() - before
    task.cancel()
    await asyncio.wait([task])
    return spent, done


def by_scraper(endpoints: tuple[Endpoint, ...], seconds: float) -> tuple[float, int]:
    """The scraper, its events counted."""

    def running(emit: Callable[[object], None]) -> asyncio.Task[None]:
        scraper = Scraper(emit, INTERVAL_S)
        scraper.update(endpoints)
        return asyncio.create_task(scraper.run())

    return uvloop.run(_counted(seconds, running))


def by_picker(endpoints: tuple[Endpoint, ...], seconds: float) -> tuple[float, int]:
    """The scraper, its events handled by the machine of one pool."""
    pool = Pool(PoolKey("default/bench"), endpoints)
    machine = PoolMachine(pool.key, PROFILES["default"], MachineSettings(), random.Random(1))
    machine.handle(PoolChanged(pool), time.monotonic())

    def running(emit: Callable[[object], None]) -> asyncio.Task[None]:
        def handle(event: Scraped | ModelsListed) -> None:
            machine.handle(event, time.monotonic())
            emit(event)

        scraper = Scraper(handle, INTERVAL_S)
        scraper.update(endpoints)
        return asyncio.create_task(scraper.run())

    return uvloop.run(_counted(seconds, running))


WAYS = {"sockets": by_sockets, "scraper": by_scraper, "picker": by_picker}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", default="8,128")
    parser.add_argument("--seconds", type=float, default=4, help="length of one measured span")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--page-kb", type=int, default=21)
    asked = parser.parse_args()
    table = Table(
        title=f"scraping {asked.page_kb} KB pages every {INTERVAL_S:g} s, medians of {asked.rounds}"
    )
    for head in ("endpoints", "way", "CPU µs a scrape", "of sockets", "scrapes/s", "share of a core"):
        table.add_column(head, justify="right")
    for count in map(int, asked.endpoints.split(",")):
        with model_servers(count, asked.page_kb * 1024) as endpoints:
            found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
            for _ in range(asked.rounds):
                for way, measure in WAYS.items():
                    spent, done = measure(endpoints, asked.seconds)
                    found[way].append((spent / done * 1e6, done / asked.seconds, spent / asked.seconds))
        floor = statistics.median(cost for cost, _, _ in found["sockets"])
        for way, rows in found.items():
            cost, rate, share = (statistics.median(column) for column in zip(*rows, strict=True))
            table.add_row(
                str(count), way, f"{cost:.0f}", f"{cost / floor:.1f}", f"{rate:.0f}", f"{share:.1%}"
            )
    PlainConsole(width=100).print(table)


if __name__ == "__main__":
    main()
