"""The Responses API of simulated servers, asked by the real `openai` client through `headgate run` and Envoy."""

import asyncio
from pathlib import Path

import openai
import pytest
from openai import AsyncOpenAI
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually
from tests.manifests import write

pytestmark = pytest.mark.live

MODEL = "base-model"
TURNS = 8
"""Requests in a row: by chance they go to the same one of three servers once in 2,000 times."""


def counted(gate: Gateway, endpoint: str) -> float:
    """Tokens of an endpoint that the picker has seen: when they become fewer, it has started anew."""
    [pool] = gate.pools()
    [load] = [each["load"] for each in pool["endpoints"] if each["endpoint"] == endpoint]
    return float(load["progress"])


@pytest.mark.parametrize("wire", ["native", "portable"])
async def test_answers_and_conversations_go_on_where_they_are_kept(
    wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    with replicas(3, "--speed", "20", "--model", MODEL) as fleet, gateway(*fleet.urls) as gate:
        async with AsyncOpenAI(base_url=gate.url + "/v1", api_key="unused", max_retries=0) as client:
            raw = client.responses.with_raw_response
            homes, tokens = set(), [0]
            last: str | None = None
            for _ in range(TURNS):
                answer = await raw.create(
                    model=MODEL, input="and then?", previous_response_id=last, max_output_tokens=9
                )
                homes.add(answer.headers["x-headgate-endpoint"])
                parsed = answer.parse()
                assert parsed.usage is not None and parsed.output_text
                tokens.append(parsed.usage.input_tokens)
                last = parsed.id
            assert len(homes) == 1 and tokens == sorted(set(tokens)), "each goes on with all before"
            assert last is not None and (await client.responses.retrieve(last)).id == last
            events = await client.responses.create(
                model=MODEL, input="and then?", previous_response_id=last, stream=True, max_output_tokens=30
            )
            told = [event async for event in events]
            assert told[0].type == "response.created"
            ended = told[-1]
            assert ended.type in ("response.completed", "response.incomplete")
            said = "".join(event.delta for event in told if event.type == "response.output_text.delta")
            assert said == ended.response.output_text != ""
            assert (await client.responses.retrieve(ended.response.id)).output_text == said

            begun = await client.conversations.create()
            homes = set()
            for _ in range(TURNS):
                answer = await raw.create(
                    model=MODEL, input="x", conversation={"id": begun.id}, max_output_tokens=3
                )
                homes.add(answer.headers["x-headgate-endpoint"])
                assert "prior=held" in answer.headers["x-headgate-decision"]
            assert len(homes) == 1
            (home,) = homes
            held = client.conversations.items.with_raw_response
            for _ in range(TURNS):
                listed = await held.list(begun.id)
                assert listed.headers["x-headgate-endpoint"] == home
                assert len(listed.parse().data) == 2 * TURNS
            more = await client.conversations.items.create(
                begun.id, items=[{"type": "message", "role": "user", "content": "and more"}]
            )
            assert more.data[0].id
            assert (await client.conversations.items.retrieve(more.data[0].id, conversation_id=begun.id)).id

            await asyncio.to_thread(eventually, lambda: counted(gate, home) > 0)
            number = [fleet.endpoint(each) for each in range(3)].index(home)
            await asyncio.to_thread(fleet.fault, number, "crash")
            for _ in range(200):
                with pytest.raises(openai.APIStatusError) as refused:
                    await client.responses.create(model=MODEL, input="x", conversation=begun.id)
                decision = refused.value.response.headers.get("x-headgate-decision", "")
                if "prior=down" in decision:
                    break
                await asyncio.sleep(0.1)
            assert "prior=down" in decision
            assert refused.value.status_code == 404
            await asyncio.to_thread(fleet.fault, number, "recover")
            for _ in range(200):
                with pytest.raises(openai.NotFoundError) as absent:
                    await client.responses.create(model=MODEL, input="x", conversation=begun.id)
                decision = absent.value.response.headers["x-headgate-decision"]
                if "prior=unknown" in decision:
                    break
                await asyncio.sleep(0.1)
            assert "prior=unknown" in decision, "its memory is gone with its counters"


async def test_a_crash_that_nobody_has_noticed_where_the_pool_fails_closed(tmp_path: Path) -> None:
    with replicas(3, "--speed", "20", "--model", MODEL) as fleet:
        path = tmp_path / "w.yaml"
        servers = manifest.model_servers(fleet.urls, app="first")
        rules = manifest.route(manifest.rule("first"))
        write(path, manifest.gateway(), rules, manifest.pool("first", "FailClose"), *servers)
        with gateway("-f", str(path)) as gate:
            async with AsyncOpenAI(base_url=gate.url + "/v1", api_key="unused", max_retries=0) as client:
                raw = client.responses.with_raw_response
                kept = await raw.create(model=MODEL, input="x", max_output_tokens=3)
                home = kept.headers["x-headgate-endpoint"]
                number = [fleet.endpoint(each) for each in range(3)].index(home)
                await asyncio.to_thread(fleet.fault, number, "crash")
                told: list[tuple[int, str]] = []
                while not told or told[-1] == (503, "held"):
                    with pytest.raises(openai.APIStatusError) as refused:
                        await client.responses.create(
                            model=MODEL, input="x", previous_response_id=kept.parse().id
                        )
                    prior = refused.value.response.headers["x-headgate-decision"].rpartition("prior=")[2]
                    told.append((refused.value.status_code, prior))
                assert told[-1] == (404, "down")
