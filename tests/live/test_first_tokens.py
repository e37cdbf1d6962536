"""Streams that begin before anything is computed: the prompt stays booked until the first token comes."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually
from tests.live.test_foreign_gateways import stack

pytestmark = pytest.mark.live

MODEL = "base-model"
WORDS = "water from the river " * 400
EARLY = b'event: response.created\ndata: {"type":"response.created","response":{"id":"r"}}\n\n: wait\n\n'


def endpoint(gate: Gateway) -> Any:
    [pool] = gate.pools()
    [found] = pool["endpoints"]
    return found


@pytest.mark.parametrize("wire", ["native", "portable"])
async def test_a_streamed_response_through_our_own_gateway(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    with replicas(1, "--speed", "0.04", "--model", MODEL) as fleet, gateway(*fleet.urls) as gate:
        async with AsyncOpenAI(base_url=gate.url + "/v1", api_key="unused", max_retries=0) as client:
            raw = await client.responses.with_raw_response.create(
                model=MODEL, input=WORDS, stream=True, max_output_tokens=3
            )
            events = aiter(raw.parse())
            assert [(await anext(events)).type for _ in range(2)] == [
                "response.created",
                "response.in_progress",
            ]
            began = time.monotonic()
            booked = await asyncio.to_thread(endpoint, gate)
            assert (booked["in_flight"], booked["pending_tokens"] > 1000) == (1, True)
            assert (await anext(events)).type == "response.output_item.added"
            waited = time.monotonic() - began
            await asyncio.to_thread(eventually, lambda: endpoint(gate)["pending_tokens"] == 0)
            async for _ in events:
                pass
        await asyncio.to_thread(eventually, lambda: gate.in_flight() == 0)
        [found] = await asyncio.to_thread(gate.decisions, 1)
        assert found["outcome"]["ttft_s"] > 0.9 * waited, "not until the first event"


@pytest.mark.parametrize(
    ("kind", "wire"),
    [("istio", "native"), ("istio", "portable"), ("llm-d", "native"), ("kgateway-2.1", "native")],
)
async def test_a_streamed_response_through_another_gateway(
    kind: str, wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    async with stack(kind, tmp_path) as made, aiohttp.ClientSession() as http:

        async def pending() -> int:
            [pool] = (await made.picker.status())["pools"]
            return sum(each["pending_tokens"] for each in pool["endpoints"])

        for server in made.servers:
            server.mode, server.early = "sse", EARLY
        body = {"model": "m", "input": WORDS, "stream": True}
        async with http.post(f"{made.url}/v1/responses", json=body) as answer:
            assert await answer.content.readexactly(len(EARLY)) == EARLY
            assert await pending() > 1000
            for server in made.servers:
                server.go.set()
            await answer.content.readuntil(b"\n\n")
            async with asyncio.timeout(5):
                while await pending():
                    await asyncio.sleep(0.02)
            await answer.content.read()
        await made.quiet()
        assert (await made.picker.concluded())["outcome"]["ttft_s"] is not None
