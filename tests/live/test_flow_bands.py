"""Low priorities beside interactive requests, and changes while requests wait, through the real Envoy."""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.processes import eventually
from tests.manifests import write

pytestmark = pytest.mark.live

MODEL = "base-model"
BATCH = {
    "apiVersion": "llm-d.ai/v1alpha2",
    "kind": "InferenceObjective",
    "metadata": {"name": "batch"},
    "spec": {"poolRef": {"name": "first"}, "priority": -10},
}


async def ask(http: aiohttp.ClientSession, url: str, tokens: int, objective: str | None = None) -> float:
    """Seconds to the first bytes of a streamed answer, which is read to its end."""
    sent = {} if objective is None else {"x-llm-d-inference-objective": objective}
    body = {"model": MODEL, "prompt": "hi", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    began = time.monotonic()
    async with http.post(url + "/v1/completions", json=body, headers=sent) as answer:
        assert answer.status == 200, await answer.text()
        await answer.content.readany()
        first_s = time.monotonic() - began
        await answer.read()
        return first_s


def objects(urls: list[str]) -> list[dict[str, Any]]:
    return [
        manifest.gateway(),
        manifest.route(manifest.rule("first")),
        manifest.pool("first"),
        *manifest.model_servers(urls, app="first"),
        BATCH,
    ]


async def test_a_flood_of_batch_requests_waits_behind_interactive_ones_and_gets_what_is_left(
    tmp_path: Path,
) -> None:
    """The order of service decides here, and no clock: no batch request goes while an interactive one waits."""
    with replicas(1, "--speed", "1", "--model", MODEL, "--max-num-seqs", "4") as fleet:
        path = tmp_path / "w.yaml"
        write(path, *objects(fleet.urls))
        with gateway("-f", str(path), "--trust-headers", "objective") as gate:
            finished = 0

            async def batch(http: aiohttp.ClientSession) -> None:
                nonlocal finished
                while True:
                    await ask(http, gate.url, 40, "batch")
                    finished += 1

            def queued() -> int:
                [pool] = gate.pools()
                return int(pool["queue"]["queued"])

            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                flood = [asyncio.create_task(batch(http)) for _ in range(40)]
                await asyncio.to_thread(eventually, lambda: queued() >= 20, 30)
                before = finished
                waits = []
                for _ in range(10):
                    waits.append(await ask(http, gate.url, 10))
                    await asyncio.sleep(0.2)
                records = [
                    record["decision"] for record in gate.decisions(300) if record["decision"]["waited_s"] > 0
                ]
                for task in flood:
                    task.cancel()
                await asyncio.gather(*flood, return_exceptions=True)
            print(
                f"\nTTFT of interactive: median {statistics.median(waits):.2f} s, longest {max(waits):.2f} s; "
                f"{finished - before} of batch ended meanwhile"
            )
            interactive = [each for each in records if each["priority"] == 0]
            assert all(each["queued_behind"] == 0 for each in interactive)
            assert finished > before
            # Forty batch requests of about 40 steps wait for four seats: ten turns for the last of them.
            assert statistics.median(waits) * 4 < max(
                each["waited_s"] for each in records if each["priority"] == -10
            )


async def test_requests_that_wait_survive_changes_of_what_is_served(tmp_path: Path) -> None:
    with replicas(2, "--speed", "1", "--model", MODEL, "--max-num-seqs", "2") as fleet:
        path = tmp_path / "w.yaml"
        write(path, *objects(fleet.urls[:1]))
        with gateway("-f", str(path)) as gate:

            def queued() -> int:
                [pool] = gate.pools()
                return int(pool["queue"]["queued"])

            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                rounds = [[ask(http, gate.url, 150) for _ in range(3)] for _ in range(8)]

                async def client(asked: list[Any]) -> list[float]:
                    return [await each for each in asked]

                tasks = [asyncio.create_task(client(each)) for each in rounds]
                await asyncio.to_thread(eventually, lambda: queued() >= 2, 30)
                write(path, *objects(fleet.urls[1:]))
                await asyncio.to_thread(eventually, lambda: gate.endpoints() == {fleet.endpoint(1)}, 20)
                write(path, *objects(fleet.urls))
                found = await asyncio.gather(*tasks)
            assert [len(each) for each in found] == [3] * 8
            await asyncio.to_thread(eventually, lambda: gate.in_flight() == 0 and queued() == 0)
