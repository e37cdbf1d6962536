"""Requests that wait in the picker, through the real Envoy: all are answered, shown, fair, and leave when they should."""

import asyncio
import collections
import time
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually, run_headgate
from tests.manifests import write

pytestmark = pytest.mark.live

MODEL = "base-model"
SLOW = ("--speed", "1", "--model", MODEL)


async def ask(
    http: aiohttp.ClientSession, url: str, tokens: int = 40, who: str | None = None, stream: bool = True
) -> tuple[int, str | None, int]:
    """Status, reason, and tokens of the answer."""
    headers = {} if who is None else {"x-llm-d-inference-fairness-id": who}
    body = {
        "model": MODEL,
        "prompt": "hi",
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": stream,
        "stream_options": {"include_usage": True} if stream else None,
    }
    async with http.post(url + "/v1/completions", json=body, headers=headers) as answer:
        await answer.read()
        return answer.status, answer.headers.get("x-headgate-reason"), tokens


def queue(gate: Gateway) -> dict[str, object]:
    [pool] = gate.pools()
    found: dict[str, object] = pool["queue"]
    return found


def queued(gate: Gateway) -> int:
    return int(str(queue(gate)["queued"]))


async def crowd(
    http: aiohttp.ClientSession, gate: Gateway, count: int, tokens: int
) -> list[asyncio.Task[object]]:
    """Clients that ask again and again, until the engine was seen to queue and some of them wait here."""

    async def client() -> None:
        while True:
            await ask(http, gate.url, tokens)

    tasks: list[asyncio.Task[object]] = [asyncio.create_task(client()) for _ in range(count)]
    await asyncio.to_thread(eventually, lambda: queued(gate) >= 3, 30)
    return tasks


@pytest.mark.parametrize("wire", ["native", "portable"])
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
async def test_sixty_clients_on_four_seats_are_all_answered(
    wire: str, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    with replicas(1, *SLOW, "--max-num-seqs", "4") as fleet, gateway(*fleet.urls) as gate:
        statuses: collections.Counter[int] = collections.Counter()
        longest_s = 0.0
        most = 0

        async def client(http: aiohttp.ClientSession) -> None:
            nonlocal longest_s
            for _ in range(4):
                began = time.monotonic()
                status, _, _ = await ask(http, gate.url, 30, stream=stream)
                statuses[status] += 1
                longest_s = max(longest_s, time.monotonic() - began)

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            tasks = [asyncio.create_task(client(http)) for _ in range(60)]
            while not all(task.done() for task in tasks):
                most = max(most, await asyncio.to_thread(queued, gate))
                await asyncio.sleep(0.2)
            await asyncio.gather(*tasks)
        print(f"\n{wire}: longest {longest_s:.1f} s, at most {most} waited")
        assert statuses == {200: 240}
        assert most >= 20
        waited = [record["decision"]["waited_s"] for record in gate.decisions(240)]
        assert max(waited) > 2.0, "longer than the picker may be silent"
        assert queued(gate) == 0
        await asyncio.to_thread(eventually, lambda: gate.in_flight() == 0)


async def test_a_client_that_leaves_frees_its_place_and_status_shows_who_waits() -> None:
    with (
        replicas(1, *SLOW, "--max-num-seqs", "2") as fleet,
        gateway(*fleet.urls, "--trust-headers", "fairness") as gate,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            others = await crowd(http, gate, 12, 200)
            leaver = asyncio.create_task(ask(http, gate.url, who="leaver"))

            def waiting() -> int:
                flows = queue(gate)["flows"]
                assert isinstance(flows, list)
                return sum(each["queued"] for each in flows if each["id"] == "leaver")

            await asyncio.to_thread(eventually, lambda: waiting() == 1)
            shown = await asyncio.to_thread(run_headgate, "status", "--admin", gate.admin, "--output", "json")
            import json

            [flow] = [each for each in json.loads(shown.stdout)["flows"] if each["id"] == "leaver"]
            assert {"pool": "default/default", "band": 0, "queued": 1}.items() <= flow.items()
            text = await asyncio.to_thread(run_headgate, "status", "--admin", gate.admin)
            assert "waiting: " in text.stdout
            assert "leaver: 1 waiting" in text.stdout
            leaver.cancel()
            await asyncio.to_thread(eventually, lambda: waiting() == 0, 2)
            for task in others:
                task.cancel()
            await asyncio.gather(leaver, *others, return_exceptions=True)
            await asyncio.to_thread(eventually, lambda: queued(gate) == 0, 10)


async def test_two_tenants_share_whatever_they_offer_and_untrusted_names_mean_nothing() -> None:
    """Ten times as many clients of one tenant get no more than the other."""
    with (
        replicas(1, *SLOW, "--max-num-seqs", "4") as fleet,
        gateway(*fleet.urls, "--trust-headers", "fairness") as gate,
    ):
        used: collections.Counter[str] = collections.Counter()
        counting = False

        async def client(http: aiohttp.ClientSession, who: str, tokens: int) -> None:
            while True:
                status, _, got = await ask(http, gate.url, tokens, who)
                assert status == 200
                if counting:
                    used[who] += got

        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            tasks = [asyncio.create_task(client(http, "loud", 20)) for _ in range(60)]
            tasks += [asyncio.create_task(client(http, "quiet", 40)) for _ in range(6)]
            await asyncio.to_thread(eventually, lambda: queued(gate) >= 20, 30)
            await asyncio.sleep(5)  # what came before the engine was seen to queue
            counting = True
            await asyncio.sleep(20)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        share = used["quiet"] / sum(used.values())
        print(f"\nquiet tenant's share: {share:.3f} of {sum(used.values())} tokens")
        assert 0.45 < share < 0.55


async def test_a_held_request_is_served_when_the_first_endpoint_comes(tmp_path: Path) -> None:
    with replicas(1, *SLOW) as fleet:
        path = tmp_path / "w.yaml"
        objects = [manifest.gateway(), manifest.route(manifest.rule("first")), manifest.pool("first")]
        write(path, *objects)
        with gateway("-f", str(path), "--hold-empty", "30s") as gate:
            async with aiohttp.ClientSession() as http:
                held = asyncio.create_task(ask(http, gate.url))
                await asyncio.to_thread(eventually, lambda: queued(gate) == 1)
                await asyncio.sleep(3)  # longer than the picker may be silent
                assert not held.done()
                write(path, *objects, *manifest.model_servers(fleet.urls, app="first"))
                assert (await asyncio.wait_for(held, 15))[0] == 200


async def test_without_flow_control_nobody_waits_here() -> None:
    with (
        replicas(1, *SLOW, "--max-num-seqs", "2") as fleet,
        gateway(*fleet.urls, "--no-flow-control") as gate,
    ):
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
            found = await asyncio.gather(*[ask(http, gate.url) for _ in range(40)])
        assert {status for status, _, _ in found} == {200}
        [pool] = gate.pools()
        assert pool["queue"] is None
        assert all(record["decision"]["waited_s"] == 0 for record in gate.decisions(40))
