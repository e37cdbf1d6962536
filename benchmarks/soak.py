"""The picker's memory over time under a steady mixed load: unique and shared prompts, streams, aborts, errors.

Prints resident memory at the start (after a warm-up), each minute and at the end.
"""

import argparse
import asyncio
import random
import time

import aiohttp
import psutil
from rich.console import Console
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway

MODEL = "soak-model"
PAUSE_S = 0.1
"""Between two requests of one client: memory is measured here, not speed."""


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


async def run(gate: Gateway, minutes: float, clients: int, console: Console) -> None:
    """Load for *minutes*, a line a minute."""
    pid = gate.pid("picker")
    assert pid is not None
    picker = psutil.Process(pid)
    done = [0]
    end = time.monotonic() + 20 + minutes * 60

    def rss() -> float:
        return float(picker.memory_info().rss) / 2**20

    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
        asyncio.TaskGroup() as group,
    ):
        for number in range(clients):
            group.create_task(client(http, gate.url, random.Random(number), end, done))
        await asyncio.sleep(20)
        start = rss()
        console.print(f"start (20 s of warm-up, {done[0]} requests): {start:.1f} MiB")
        while time.monotonic() < end - 1:
            await asyncio.sleep(min(60, max(end - time.monotonic(), 0.1)))
            console.print(f"{done[0]:>8} requests: {rss():.1f} MiB")
    console.print(
        f"end after {minutes:g} minutes and {done[0]} requests: {rss():.1f} MiB ({rss() - start:+.1f}); in flight: {gate.in_flight()}"
    )


def main() -> None:
    """Soak and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--clients", type=int, default=24)
    asked = parser.parse_args()
    with replicas(4, "--speed", "20", "--model", MODEL) as fleet, gateway(*fleet.urls) as gate:
        asyncio.run(run(gate, asked.minutes, asked.clients, Console(width=100)))


if __name__ == "__main__":
    main()
