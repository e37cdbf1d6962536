"""Sessions and kept answers through `headgate run` and the real Envoy, asked by the real `openai` client."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import NamedTuple

import aiohttp
import openai
import pytest
from openai import AsyncOpenAI
from tests.live.harness.answer_store import MODEL, AnswerStore
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live

TURNS = 8
"""Requests in a row: by chance, they go to the same one of three servers once in 2,000 times."""


class Running(NamedTuple):
    gate: Gateway
    servers: list[AnswerStore]
    stops: dict[int, contextlib.AsyncExitStack]
    """By port."""
    client: AsyncOpenAI

    def keeper(self, id_: str) -> AnswerStore:
        (found,) = [each for each in self.servers if id_ in each.kept]
        return found


@pytest.fixture(params=["native", "portable"])
async def running(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    monkeypatch.setenv("HEADGATE_WIRE", request.param)
    servers = [AnswerStore() for _ in range(3)]
    async with contextlib.AsyncExitStack() as all_:
        stops = {}
        for each in servers:
            stops[each.port] = await all_.enter_async_context(contextlib.AsyncExitStack())
            await stops[each.port].enter_async_context(each.running())
        loop = asyncio.get_running_loop()
        opened = gateway(*[f"http://{each.address}" for each in servers])
        gate = await loop.run_in_executor(None, opened.__enter__)
        try:
            async with AsyncOpenAI(base_url=gate.url + "/v1", api_key="unused", max_retries=0) as client:
                yield Running(gate, servers, stops, client)
        finally:
            await loop.run_in_executor(None, opened.__exit__, None, None, None)


async def test_a_conversation_goes_on_where_its_answers_are_kept(running: Running) -> None:
    client = running.client
    for stream in (False, True):
        last: str | None = None
        home = None
        for _ in range(TURNS):
            if stream:
                events = await client.responses.create(
                    model=MODEL, input="x", previous_response_id=last, stream=True
                )
                created, *_ = [each async for each in events]
                assert created.type == "response.created"
                last = created.response.id
            else:
                last = (await client.responses.create(model=MODEL, input="x", previous_response_id=last)).id
            home = home or running.keeper(last)
            assert running.keeper(last) is home
            assert (await client.responses.retrieve(last)).id == last
            assert (await client.responses.input_items.list(last)).data == []
            assert (await client.responses.cancel(last)).id == last
        assert last is not None and home is not None
        await client.responses.delete(last)
        assert last not in home.kept
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(last)


async def test_a_conversation_that_has_an_id_goes_on_where_it_is_kept(running: Running) -> None:
    client = running.client
    begun = await client.conversations.create()
    home = running.keeper(begun.id)
    for number in range(TURNS):
        named: str | dict[str, str] = begun.id if number % 2 else {"id": begun.id}
        answer = await client.responses.create(model=MODEL, input="x", conversation=named)  # type: ignore[arg-type]
        assert running.keeper(answer.id) is home
        assert (await client.conversations.retrieve(begun.id)).id == begun.id
        assert (await client.conversations.items.list(begun.id)).data == []
    await client.conversations.delete(begun.id)
    raw = client.responses.with_raw_response
    with pytest.raises(openai.NotFoundError):
        await raw.create(model=MODEL, input="x", conversation=begun.id)
    await running.stops[home.port].aclose()
    for _ in range(200):
        with pytest.raises(openai.APIStatusError) as refused:
            await client.responses.create(model=MODEL, input="x", conversation=begun.id)
        decision = refused.value.response.headers.get("x-headgate-decision", "")
        if "prior=down" in decision:
            break
        await asyncio.sleep(0.1)
    assert "prior=down" in decision
    told = "goes on with an answer or conversation whose endpoint is down"
    assert any(told in str(event) for event in running.gate.events)


async def test_an_answer_whose_server_is_gone_is_asked_for_anywhere_and_that_is_said(
    running: Running,
) -> None:
    last = (await running.client.responses.create(model=MODEL, input="x")).id
    home = running.keeper(last)
    await running.stops[home.port].aclose()
    for _ in range(200):
        # The first ones are tried at its endpoint, and Envoy then asks another one.
        with pytest.raises(openai.APIStatusError) as refused:
            await running.client.responses.create(model=MODEL, input="x", previous_response_id=last)
        answer = refused.value.response
        if "prior=down" in answer.headers.get("x-headgate-decision", ""):
            break
        await asyncio.sleep(0.1)
    assert "prior=down" in answer.headers["x-headgate-decision"]
    assert answer.status_code == 404
    assert answer.headers["x-headgate-endpoint"] != home.address
    decision = await asyncio.to_thread(running.gate.decision, answer.headers["x-request-id"])
    assert decision["decision"]["prior"] == "down"
    fresh = await running.client.responses.create(model=MODEL, input="all of it")
    assert running.keeper(fresh.id) is not home


async def test_after_the_picker_has_started_anew_good_answers_show_who_keeps_them(running: Running) -> None:
    last = (await running.client.responses.create(model=MODEL, input="x")).id
    home, gate = running.keeper(last), running.gate
    before = await asyncio.to_thread(gate.pid, "picker")
    assert before is not None
    os.kill(before, signal.SIGKILL)
    await asyncio.to_thread(
        eventually, lambda: gate.pid("picker") not in (None, before) and gate.served_well("picker"), 20
    )
    told = []
    for _ in range(100):
        with contextlib.suppress(openai.NotFoundError):
            answer = await running.client.responses.with_raw_response.retrieve(last)
            told.append(answer.headers["x-headgate-decision"])
            if "prior=held" in told[-1]:
                break
        await asyncio.sleep(0.05)
    assert "prior=unknown" in told[0] and "prior=held" in told[-1]
    for _ in range(TURNS):
        assert (await running.client.responses.retrieve(last)).id == last
    assert last in home.kept


async def test_a_session_stays_and_its_metric_says_so(running: Running) -> None:
    url, body = running.gate.url + "/v1/chat/completions", {"model": MODEL, "messages": []}
    async with aiohttp.ClientSession() as http:
        seen = []
        for _ in range(TURNS):
            async with http.post(url, json=body, headers={"x-session-id": "s"}) as answer:
                assert answer.status == 200
                seen.append((answer.headers["x-headgate-endpoint"], answer.headers["x-headgate-decision"]))
    assert len({endpoint for endpoint, _ in seen}) == 1
    assert "session=new" in seen[0][1]
    assert all("session=kept" in told for _, told in seen[1:])
