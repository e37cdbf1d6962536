"""How soon a waiting request's place is free once its client has left: milliseconds, by the picker's own view.

    python -m benchmarks.leaving [--leavers 40] [--wire native]

Through the real Envoy: requests without end take the seats of one simulated server and a few wait; then one client
at a time waits too, and closes its connection. What is measured ends when the admin API shows its flow without a
request; one question to that API, which every time contains at least once, is measured beside it.
"""

import argparse
import asyncio
import os
import statistics
import time
from typing import Any

import aiohttp
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway

MODEL = "base-model"
SEATS = 2
CROWD = 12
LEAVER = "leaver"
PATIENCE_S = 30.0


def _body(tokens: int) -> dict[str, Any]:
    return {"model": MODEL, "prompt": "hi", "max_tokens": tokens, "ignore_eos": True, "stream": True}


async def measure(leavers: int) -> tuple[list[float], list[float]]:
    """Seconds until each leaver's place was free, and of single questions to the admin API."""
    options = ("--speed", "1", "--model", MODEL, "--max-num-seqs", str(SEATS))
    with (
        replicas(1, *options) as fleet,
        gateway(*fleet.urls, "--trust-headers", "fairness") as gate,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:

            async def ask(who: str, tokens: int) -> None:
                headers = {"x-llm-d-inference-fairness-id": who}
                url = f"{gate.url}/v1/completions"
                async with http.post(url, json=_body(tokens), headers=headers) as answer:
                    await answer.read()

            async def crowd() -> None:
                while True:
                    await ask("crowd", 400)

            async def queued(who: str) -> int:
                async with http.get(f"{gate.admin}/v1/status") as answer:
                    [pool] = (await answer.json())["picker"]["pools"]
                return sum(each["queued"] for each in pool["queue"]["flows"] if each["id"] == who)

            async def until(who: str, wanted: bool) -> float:
                began = time.perf_counter()
                while bool(await queued(who)) != wanted:
                    if time.perf_counter() - began > PATIENCE_S:
                        raise SystemExit(f"{who} {'never waited' if wanted else 'waits on'}")
                return time.perf_counter() - began

            others = [asyncio.create_task(crowd()) for _ in range(CROWD)]
            await until("crowd", True)
            left, looks = [], []
            for number in range(leavers):
                who = f"{LEAVER}-{number}"
                leaver = asyncio.create_task(ask(who, 10))
                await until(who, True)
                began = time.perf_counter()
                await queued(who)
                looks.append(time.perf_counter() - began)
                leaver.cancel()
                left.append(await until(who, False))
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
    return left, looks


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--leavers", type=int, default=40)
    parser.add_argument("--wire", choices=("native", "portable"), default="native")
    asked = parser.parse_args()
    os.environ["HEADGATE_WIRE"] = asked.wire
    left, looks = asyncio.run(measure(asked.leavers))
    for name, times in (("place free", left), ("one question", looks)):
        found = sorted(1000 * each for each in times)
        print(f"{asked.wire} {name:>12}: p50 {statistics.median(found):.1f} ms, slowest {found[-1]:.1f} ms")


if __name__ == "__main__":
    main()
