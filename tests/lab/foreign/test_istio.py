"""Istio's control plane programs an Envoy; our picker, installed by our chart, is asked where requests go."""

import asyncio
import collections
import io
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from tests.lab import cluster as lab
from tests.lab.faults.streams import during, failed, rolled
from tests.lab.foreign import istio
from tests.live.harness.load import MODEL, Seen, one

NAMESPACE = "lab-istio"
CLIENTS = 8
"""Requests at a time, of `during`."""
APP = "llm"
POOLS = {"closed": "FailClose", "open": "FailOpen", "plain": "FailClose"}
VALUES = {
    "closed": (),
    "open": ("picker.destinationRule=true",),
    "plain": ("picker.extraArgs={--secure-serving=false}",),
}
"""The first one's DestinationRule is there already, as pickers of others have it; the last speaks without TLS, so
that Istio needs to be told nothing."""


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    """The Gateway; its path `/NAME/v1` leads to the pool of that name."""
    with lab.namespace(NAMESPACE):
        lab.apply(NAMESPACE, istio.servers(APP), *(istio.pool(name, APP, POOLS[name]) for name in POOLS))
        lab.apply(NAMESPACE, istio.destination_rule("closed"))
        for name, values in VALUES.items():
            istio.install(NAMESPACE, name, *values)
        routes = [lab.route(name, "gate", {name: 1}, f"/{name}/v1") for name in POOLS]
        for each in routes:
            rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}}
            each["spec"]["rules"][0]["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
        lab.apply(NAMESPACE, lab.gateway("gate", gatewayClassName="istio"), *routes)
        lab.available(NAMESPACE)
        yield f"http://{lab.address(NAMESPACE, 'gate')}"


async def served(url: str) -> None:
    """Wait until the pool's route is there and its picker is asked."""
    async with aiohttp.ClientSession() as http:
        for _ in range(150):
            seen = await one(http, url, stream=False)
            if seen.status == 200 and seen.endpoint is not None:
                return
            await asyncio.sleep(0.2)
    raise AssertionError(f"not served: {seen}")


async def quiet(name: str) -> dict[str, Any]:
    """The pool as its picker sees it, once nothing is left of any request."""
    for _ in range(100):
        status = await asyncio.to_thread(istio.asked, NAMESPACE, name, "/v1/status")
        (pool,) = status["pools"]
        if not status["open_streams"] and not pool["in_flight"]:
            assert isinstance(pool, dict)
            return pool
        await asyncio.sleep(0.1)
    raise AssertionError(f"in flight for ever: {status}")


def counted(what: str, seen: list[Seen]) -> collections.Counter[tuple[int | None, str | None]]:
    """Status and reason of everything that was asked, printed too."""
    found = collections.Counter((each.status, each.reason) for each in seen)
    print(f"\n{what}: {len(seen)} requests: {dict(found)}, broken off: {sum(each.broken for each in seen)}")
    return found


@pytest.mark.parametrize("name", POOLS)
async def test_the_server_that_the_picker_chose_answers(name: str, url: str) -> None:
    await served(f"{url}/{name}")
    await quiet(name)
    before = await asyncio.to_thread(istio.answered, NAMESPACE, APP)
    seen: list[Seen] = []
    async with aiohttp.ClientSession() as http:
        for _ in range(10):
            asks = (one(http, f"{url}/{name}", stream=number % 2 == 0) for number in range(6))
            seen += await asyncio.gather(*asks)
    assert not failed(seen), counted(name, seen)
    after = await asyncio.to_thread(istio.answered, NAMESPACE, APP)
    said = collections.Counter(each.endpoint for each in seen)
    assert {key: after[key] - before[key] for key in after if after[key] != before[key]} == said
    assert len(said) == 3, "every server had its share"
    await quiet(name)
    records = await asyncio.to_thread(istio.asked, NAMESPACE, name, f"/v1/decisions?limit={len(seen)}")
    assert len(records) == len(seen)
    for each in records:
        outcome = each["outcome"]
        assert each["decision"]["chosen"][0] == outcome["served"], each
        assert outcome["ending"] == "complete", each
    assert collections.Counter(each["outcome"]["served"] for each in records) == said


async def test_the_answers_are_seen(url: str) -> None:
    """What they used, and when their first token came."""
    await served(f"{url}/closed")
    asks = {"model": MODEL, "prompt": "tell me", "max_tokens": 7, "ignore_eos": True}
    streams = {**asks, "stream": True, "stream_options": {"include_usage": True}}
    async with aiohttp.ClientSession() as http:
        for body in (asks, streams):
            async with http.post(f"{url}/closed/v1/completions", json=body) as answer:
                assert answer.status == 200 and b"usage" in await answer.read()
    await quiet("closed")
    stream, plain = await asyncio.to_thread(istio.asked, NAMESPACE, "closed", "/v1/decisions?limit=2")
    used = [each["outcome"]["usage"]["completion_tokens"] for each in (stream, plain)]
    assert used == [7, 7] and stream["outcome"]["ttft_s"] > 0


async def test_bodies_of_every_size_and_requests_without_one(url: str) -> None:
    await served(f"{url}/closed")
    asked = f"{url}/closed/v1/completions"
    async with aiohttp.ClientSession(headers={"content-type": "application/json"}) as http:
        async with http.get(f"{url}/closed/v1/models") as answer:
            assert [card["id"] for card in (await answer.json())["data"]] == [MODEL]
        for size in (0, 100_000, 8 << 20):
            body = json.dumps({"model": MODEL, "prompt": "tell me", "max_tokens": 2, "pad": "x" * size})
            async with http.post(asked, data=io.BytesIO(body.encode())) as answer:
                assert answer.status == 200, await answer.text()
                assert answer.headers["x-headgate-endpoint"], "the picker was asked"
        async with http.post(asked, data=b"{") as answer:
            reason = answer.headers.get("x-headgate-reason")
            assert (answer.status, reason) == (400, "bad-request"), await answer.text()
    await quiet("closed")


async def test_clients_that_leave_are_forgotten(url: str) -> None:
    await served(f"{url}/closed")
    body = {"model": MODEL, "prompt": "tell me", "max_tokens": 400, "ignore_eos": True, "stream": True}
    async with aiohttp.ClientSession() as http:
        for _ in range(5):
            async with http.post(f"{url}/closed/v1/completions", json=body) as answer:
                assert (await answer.content.readany()).startswith(b"data: ")
    pool = await quiet("closed")
    assert {each["condition"] for each in pool["endpoints"]} == {"up"}
    records = await asyncio.to_thread(istio.asked, NAMESPACE, "closed", "/v1/decisions?limit=5")
    assert {each["outcome"]["ending"] for each in records} == {"aborted"}


@pytest.mark.parametrize("name", ["closed", "open"])
async def test_a_picker_that_is_replaced_costs_nothing(name: str, url: str) -> None:
    await served(f"{url}/{name}")
    seen = await during(f"{url}/{name}", f"picker of {name} rolled", lambda: roll(name))
    assert not failed(seen), counted(name, seen)
    await quiet(name)


def roll(release: str) -> None:
    lab.kubectl("-n", NAMESPACE, "rollout", "restart", f"deployment/{release}-picker")
    rolled(NAMESPACE, f"{release}-picker")


def scale(release: str, replicas: int) -> None:
    """Of its picker; to none is a kill."""
    pid = None if replicas else istio.picker_process(NAMESPACE, release)
    lab.kubectl("-n", NAMESPACE, "scale", f"deployment/{release}-picker", f"--replicas={replicas}")
    if pid is None:
        rolled(NAMESPACE, f"{release}-picker")
    else:
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("name", ["closed", "open"])
async def test_without_its_picker_a_pool_fails_as_it_says(name: str, url: str) -> None:
    """What is under way in that moment breaks off, since Istio's gateway sends answers through the picker; while
    its address is known and refuses connections, requests fail with both modes."""
    await served(f"{url}/{name}")
    seen = await during(f"{url}/{name}", f"picker of {name} killed", lambda: scale(name, 0), 5.0)
    counted(name, seen)
    broken = [each for each in seen if each.broken or each.status is None]
    assert len(broken) <= CLIENTS and {each.status for each in seen} <= {200, 500, None}
    last = sorted(seen, key=lambda each: each.started)[-CLIENTS:]
    assert {each.status for each in last} == {500 if name == "closed" else 200}
    assert {each.endpoint for each in last} == {None}, "no picker was asked"
    await asyncio.to_thread(scale, name, 1)
    await served(f"{url}/{name}")
