"""The picker's memory over time under a steady mixed load: unique and shared prompts, streams, aborts, errors.

Prints resident memory at the start (after a warm-up), each minute and at the end. With `--requests` it is a bounded number
at the highest rate that the machine gives, against model servers that cost nothing, `--aborts` of them given up.
"""

import argparse
import asyncio
import multiprocessing
import random
import time
from multiprocessing.sharedctypes import SynchronizedArray

import aiohttp
import msgspec
import psutil
import uvloop
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway

from benchmarks import model_servers
from headgate.io.terminal.console import PlainConsole

MODEL = "soak-model"
PAUSE_S = 0.1
"""Between two requests of one client: memory is measured here, not speed."""
SETTLE_S = 20.0
"""The longest wait for the access log's last entries."""


async def client(
    http: aiohttp.ClientSession, url: str, dice: random.Random, end: float, done: list[int]
) -> None:
    """One user: mostly short chats with a shared head, some unique, some aborted, some wrong."""
    while time.monotonic() < end:
        kind = dice.random()
        head = f"system {dice.randrange(200)} " * 60 if kind < 0.6 else str(dice.random()) * 80
        body = {
            "model": MODEL if kind < 0.97 else 17,
            "messages": [
                {"role": "system", "content": head},
                {"role": "user", "content": str(dice.random())},
            ],
            "max_tokens": dice.randint(1, 40),
            "stream": kind < 0.8,
        }
        async with http.post(url + "/v1/chat/completions", json=body) as answer:
            if kind < 0.05:
                await answer.content.readany()
                answer.close()
            else:
                await answer.read()
        done[0] += 1
        await asyncio.sleep(PAUSE_S)


async def run(gate: Gateway, minutes: float, clients: int, console: PlainConsole) -> None:
    """Load for *minutes*, a line a minute."""
    pid = gate.pid("picker")
    assert pid is not None
    done = [0]
    end = time.monotonic() + 20 + minutes * 60
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(clients):
            group.create_task(client(http, gate.url, random.Random(number), end, done))
        await asyncio.sleep(20)
        start = rss(pid)
        console.print(f"start (20 s of warm-up, {done[0]} requests): {start:.1f} MiB")
        while time.monotonic() < end - 1:
            await asyncio.sleep(min(60, max(end - time.monotonic(), 0.1)))
            console.print(f"{done[0]:>8} requests: {rss(pid):.1f} MiB")
    console.print(
        f"end after {minutes:g} minutes and {done[0]} requests: {rss(pid):.1f} MiB ({rss(pid) - start:+.1f}); in flight: {gate.in_flight()}"
    )


def rss(pid: int) -> float:
    """Resident MiB of a process."""
    return float(psutil.Process(pid).memory_info().rss) / 2**20


DONE, UNHEARD, CUT, FAILED = range(4)
"""What became of requests: answered, given up before the first byte or in the stream, and all others."""


class Share(msgspec.Struct, frozen=True):
    """What one load process does."""

    url: str
    requests: int
    clients: int
    aborts: float
    seed: int


async def one(http: aiohttp.ClientSession, share: Share, dice: random.Random) -> int:
    """One request, half of them streams; how it ended."""
    head = f"system {dice.randrange(500)} " * 60 if dice.random() < 0.7 else dice.randbytes(400).hex()
    stream = dice.random() < 0.5
    body = {
        "model": model_servers.MODEL,
        "messages": [{"role": "system", "content": head}, {"role": "user", "content": str(dice.random())}],
        "max_tokens": 32,
        "stream": stream,
    }
    headers = {model_servers.STREAM_HEADER: "1"} if stream else {}
    aborted = dice.random() < share.aborts
    patience = dice.expovariate(500) if aborted and (not stream or dice.random() < 0.5) else None
    try:
        async with (
            asyncio.timeout(patience),
            http.post(share.url + "/v1/chat/completions", json=body, headers=headers) as answer,
        ):
            if aborted and stream:
                await answer.content.readany()
                answer.close()
                return CUT
            text = await answer.read()
            whole = answer.status == 200 and (not stream or text.endswith(b"[DONE]\n\n"))
            return DONE if whole else FAILED
    except TimeoutError:
        return UNHEARD
    except aiohttp.ClientError:
        return FAILED


def load(share: Share, counts: "SynchronizedArray[int]") -> None:
    """A closed loop of clients, until the share is done."""
    dice = random.Random(share.seed)
    left = share.requests

    async def client(http: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            how = await one(http, share, dice)
            with counts.get_lock():
                counts[how] += 1

    async def all_clients() -> None:
        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            asyncio.TaskGroup() as group,
        ):
            for _ in range(share.clients):
                group.create_task(client(http))

    uvloop.run(all_clients())


def held(gate: Gateway) -> tuple[int, int, int]:
    """Streams open, requests left to the access log, requests in flight."""
    picker = gate.status()["picker"]
    return picker["open_streams"], picker["left_streams"], gate.in_flight()


def flood(
    gate: Gateway, requests: int, aborts: float, processes: int, clients: int, console: PlainConsole
) -> bool:
    """*requests* at full speed, a line each tenth and at least each minute; whether nothing of them was kept."""
    pids = {name: gate.pid(name) for name in ("picker", "envoy")}
    context = multiprocessing.get_context("spawn")
    counts = context.Array("q", 4)
    shares = [
        Share(gate.url, requests // processes + (number < requests % processes), clients, aborts, number)
        for number in range(processes)
    ]
    children = [context.Process(target=load, args=(share, counts), daemon=True) for share in shares]
    began = time.monotonic()

    def show(what: str) -> None:
        total = sum(counts[:])
        sizes = ", ".join(f"{name} {rss(pid):.1f} MiB" for name, pid in pids.items() if pid is not None)
        took = time.monotonic() - began
        console.print(f"{what}: {total} requests in {took:.0f} s ({total / max(took, 1e-9):.0f}/s): {sizes}")

    for child in children:
        child.start()
    shown, shown_at = 0, began
    while any(child.is_alive() for child in children):
        time.sleep(0.2)
        if sum(counts[:]) >= shown + requests // 10 or time.monotonic() > shown_at + 60:
            shown, shown_at = sum(counts[:]), time.monotonic()
            show("so far")
    for child in children:
        child.join()
    show("end")
    until = time.monotonic() + SETTLE_S
    while any(kept := held(gate)) and time.monotonic() < until:
        time.sleep(0.2)
    show(f"after {time.monotonic() - until + SETTLE_S:.1f} s more")
    answered, unheard, cut, failed = counts[:]
    console.print(
        f"{answered} answered, {unheard} given up before the first byte, {cut} in the stream, {failed} failed"
    )
    console.print(f"streams open: {kept[0]}, left to the log: {kept[1]}, in flight: {kept[2]}")
    same = {name: gate.pid(name) for name in pids} == pids
    return same and not failed and not any(kept)


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, help="24; for --requests 80 in each process")
    parser.add_argument("--requests", type=int, help="in place of --minutes")
    parser.add_argument("--aborts", type=float, default=0.05, help="share of --requests")
    parser.add_argument("--processes", type=int, default=3, help="of load, for --requests")
    asked = parser.parse_args()
    console = PlainConsole(width=120)
    if asked.requests is None:
        with replicas(4, "--speed", "20", "--model", MODEL) as fleet, gateway(*fleet.urls) as gate:
            asyncio.run(run(gate, asked.minutes, asked.clients or 24, console))
        return
    with model_servers.model_servers(4) as urls, gateway(*urls) as gate:
        if not flood(gate, asked.requests, asked.aborts, asked.processes, asked.clients or 80, console):
            raise SystemExit("something was kept, failed or started again")


if __name__ == "__main__":
    main()
