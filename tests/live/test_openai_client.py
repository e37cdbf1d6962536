"""The real `openai` client through `headgate run`: what users do all day."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live

MODEL = "meta-llama/Llama-3.1-8B-Instruct"


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(3, "--speed", "20", "--model", MODEL) as started:
        yield started


@pytest.fixture(scope="module")
def gate(fleet: Replicas) -> Iterator[Gateway]:
    with gateway(*fleet.urls) as started:
        yield started


@pytest.fixture
async def client(gate: Gateway) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=gate.url + "/v1", api_key="unused", max_retries=0) as opened:
        yield opened


async def test_chat_and_completions_plain_and_streamed(client: AsyncOpenAI) -> None:
    messages: Any = [{"role": "user", "content": "Why is the sky blue?"}]
    plain = await client.chat.completions.create(
        model=MODEL, messages=messages, max_tokens=12, extra_body={"ignore_eos": True}
    )
    assert plain.usage is not None and plain.usage.completion_tokens == 12
    assert plain.model == MODEL and plain.choices[0].message.content

    said, usage = "", None
    async for chunk in await client.chat.completions.create(
        model=MODEL,
        messages=messages,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
        extra_body={"ignore_eos": True},
    ):
        usage = chunk.usage or usage
        said += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert usage is not None and usage.completion_tokens == 12 and said

    completion = await client.completions.create(model=MODEL, prompt="Once upon", max_tokens=5)
    assert completion.usage is not None and completion.usage.completion_tokens == 5
    pieces = [
        part
        async for part in await client.completions.create(
            model=MODEL, prompt="Once", max_tokens=5, stream=True
        )
    ]
    assert "".join(choice.text for part in pieces for choice in part.choices)


async def test_models_are_the_union(client: AsyncOpenAI) -> None:
    listed = [card.id async for card in await client.models.list()]
    assert listed == [MODEL]


async def test_every_answer_names_its_request_endpoint_and_decision(gate: Gateway, fleet: Replicas) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
    async with aiohttp.ClientSession() as http, http.post(gate.url + "/v1/completions", json=body) as answer:
        assert answer.status == 200
        request_id = answer.headers["x-request-id"]
        endpoint = answer.headers["x-headgate-endpoint"]
        assert answer.headers["x-headgate-decision"]
    assert f"http://{endpoint}" in fleet.urls
    record = eventually(lambda: gate.decision(request_id)["outcome"] and gate.decision(request_id))
    assert record["decision"]["chosen"][0] == endpoint
    assert record["outcome"]["served"] == endpoint
    assert record["outcome"]["usage"]["completion_tokens"] == 2
    assert len(record["decision"]["candidates"]) == 3


async def test_a_request_id_of_the_client_is_kept(gate: Gateway) -> None:
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 1}
    async with (
        aiohttp.ClientSession() as http,
        http.post(gate.url + "/v1/completions", json=body, headers={"x-request-id": "mine-1"}) as answer,
    ):
        assert answer.headers["x-request-id"] == "mine-1"
    assert gate.decision("mine-1")["decision"]["request_id"] == "mine-1"


async def test_an_8_mib_body_arrives_whole(client: AsyncOpenAI, fleet: Replicas) -> None:
    prompt = "lorem ipsum " * (8 * 1024 * 1024 // 12)
    # The fleet's context is far smaller: its own 400 proves that the whole body was read there.
    with pytest.raises(Exception, match="context length") as caught:
        await client.completions.create(model=MODEL, prompt=prompt, max_tokens=1)
    assert getattr(caught.value, "status_code", None) == 400


async def test_concurrent_streams_all_end(client: AsyncOpenAI) -> None:
    async def one(number: int) -> int:
        chunks = 0
        stream = await client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": f"story {number}"}], max_tokens=20, stream=True
        )
        async for chunk in stream:
            chunks += bool(chunk.choices and chunk.choices[0].delta.content)
        return chunks

    counts = await asyncio.gather(*(one(number) for number in range(60)))
    assert min(counts) >= 1


async def test_an_aborted_stream_frees_its_accounting(gate: Gateway) -> None:
    body = {"model": MODEL, "prompt": "a long story", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    async with aiohttp.ClientSession() as http:
        answer = await http.post(
            gate.url + "/v1/completions", json=body, headers={"x-request-id": "aborted-1"}
        )
        await answer.content.readany()
        assert gate.in_flight() >= 1
        answer.close()
    eventually(lambda: gate.in_flight() == 0)
    outcome = eventually(lambda: gate.decision("aborted-1")["outcome"])
    assert outcome["ending"] == "aborted"
