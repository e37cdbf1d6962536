"""Endpoints that come and go while requests wait in the picker, through the real Envoy."""

import asyncio
import os
import signal
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually, free_port
from tests.manifests import write

pytestmark = pytest.mark.live

MODEL = "base-model"
NAME = "first"
TWO = ("--speed", "1", "--model", MODEL, "--max-num-seqs", "2")
"""A server of two seats."""
OBJECTS = [manifest.gateway(), manifest.route(manifest.rule(NAME)), manifest.pool(NAME)]
Told = tuple[int, str | None, str | None]
"""Status, reason, Retry-After."""


async def ask(http: aiohttp.ClientSession, url: str, tokens: int) -> Told:
    body = {"model": MODEL, "prompt": "hi", "max_tokens": tokens, "ignore_eos": True, "stream": True}
    async with http.post(url + "/v1/completions", json=body) as answer:
        try:
            await answer.read()
        except aiohttp.ClientError:
            return 0, "broken", None
        headers = answer.headers
        return answer.status, headers.get("x-headgate-reason"), headers.get("retry-after")


def queued(gate: Gateway) -> int:
    [pool] = gate.pools()
    return int(pool["queue"]["queued"])


async def waiting(http: aiohttp.ClientSession, gate: Gateway, count: int) -> list[asyncio.Task[Told]]:
    """So many requests, of which an engine of two seats has some for half a minute; the others wait."""
    warm = [asyncio.create_task(ask(http, gate.url, 40)) for _ in range(12)]
    await asyncio.gather(*warm)  # the engine was seen to queue
    tasks = [asyncio.create_task(ask(http, gate.url, 3000)) for _ in range(count)]
    await asyncio.to_thread(eventually, lambda: queued(gate) >= count - 6, 20)
    return tasks


def servers(tmp_path: Path, fleet: Replicas | None) -> Path:
    urls = [] if fleet is None else fleet.urls
    return write(tmp_path / "w.yaml", *OBJECTS, *manifest.model_servers(urls, app=NAME))


@pytest.mark.parametrize("how", ["removed", "crashed", "killed"])
async def test_who_waits_when_the_last_endpoint_goes_is_told_so_at_once(tmp_path: Path, how: str) -> None:
    with replicas(1, *TWO) as fleet, gateway("-f", str(servers(tmp_path, fleet))) as gate:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            tasks = await waiting(http, gate, 20)
            waited = queued(gate)
            if how == "removed":
                servers(tmp_path, None)
            elif how == "crashed":
                fleet.fault(0, "crash")
            else:
                os.kill(fleet.child.process.pid, signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: queued(gate) == 0, 10)
            await asyncio.sleep(1)
            told = [task.result() for task in tasks if task.done()]
            print(f"\n{how}: {waited} waited; answers {sorted(map(str, set(told)))}")
            assert told.count((503, "no-endpoints", "5")) == waited
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def test_held_requests_are_not_thrown_at_a_server_that_does_not_listen_yet(tmp_path: Path) -> None:
    port = free_port()
    with gateway("-f", str(servers(tmp_path, None)), "--hold-empty", "30s") as gate:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            held = [asyncio.create_task(ask(http, gate.url, 5)) for _ in range(40)]
            await asyncio.to_thread(eventually, lambda: queued(gate) == 40)
            server = manifest.model_servers([f"http://127.0.0.1:{port}"], app=NAME)
            write(tmp_path / "w.yaml", *OBJECTS, *server)
            await asyncio.to_thread(eventually, lambda: len(gate.endpoints()) == 1)
            held += [asyncio.create_task(ask(http, gate.url, 5)) for _ in range(10)]
            await asyncio.sleep(3)
            assert queued(gate) == 50, "nobody listens there"
            with replicas(1, "--speed", "1", "--model", MODEL, "--port-base", str(port)):
                told = await asyncio.wait_for(asyncio.gather(*held), 20)
        assert set(told) == {(200, None, None)}


async def test_who_waits_when_servers_vanish_is_served_by_those_that_come(tmp_path: Path) -> None:
    with (
        replicas(1, *TWO) as fleet,
        gateway("-f", str(servers(tmp_path, fleet)), "--hold-empty", "30s") as gate,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            await asyncio.gather(*[ask(http, gate.url, 40) for _ in range(12)])
            tasks = [asyncio.create_task(ask(http, gate.url, 400)) for _ in range(12)]
            await asyncio.to_thread(eventually, lambda: queued(gate) >= 6, 20)
            waited = queued(gate)
            fleet.fault(0, "crash")
            await asyncio.sleep(3)
            fleet.fault(0, "recover")
            told = await asyncio.wait_for(asyncio.gather(*tasks), 40)
    print(f"\n{waited} waited; answers {told}")
    assert told.count((200, None, None)) >= waited
