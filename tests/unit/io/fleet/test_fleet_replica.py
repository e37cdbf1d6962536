"""One replica over real sockets: API, metrics page, adapters, faults."""

import asyncio
import io
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import msgspec
import pytest

from headgate.engines import read_load
from headgate.io.fleet.faults import Fault
from headgate.io.fleet.replica import Replica
from headgate.io.fleet.settings import FleetSettings
from headgate.io.fleet.sockets import bind
from headgate.model.load import Load

SETTINGS = FleetSettings(
    model="m", loras=("sql",), speed=50.0, drain_s=0.2, max_model_len=20_000, kv_tokens=50_000
)
HELLO = {"prompt": "hello", "max_tokens": 5}
LONG = {"prompt": "hello", "max_tokens": 15_000, "ignore_eos": True, "stream": True}


@pytest.fixture
async def replica() -> AsyncIterator[Replica]:
    made = Replica(SETTINGS, 0, bind("127.0.0.1", 0))
    await made.start()
    yield made
    await made.close()


@pytest.fixture
async def http(replica: Replica) -> AsyncIterator[aiohttp.ClientSession]:
    timeout = aiohttp.ClientTimeout(total=5)
    async with aiohttp.ClientSession(replica.url, timeout=timeout) as session:
        yield session


async def post(http: aiohttp.ClientSession, path: str, body: Any) -> tuple[int, Any]:
    """Status and decoded JSON (or text)."""
    async with http.post(path, json=body) as answer:
        raw = await answer.read()
        return answer.status, msgspec.json.decode(raw) if "json" in answer.content_type else raw.decode()


async def get(http: aiohttp.ClientSession, path: str) -> tuple[int, str]:
    async with http.get(path) as answer:
        return answer.status, await answer.text()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(3):
        while not true():
            await asyncio.sleep(0.005)


async def test_an_answer_names_the_replica(http: aiohttp.ClientSession) -> None:
    async with http.post("/v1/completions", json=HELLO, headers={"x-request-id": "r1"}) as answer:
        body = await answer.json()
        assert answer.headers["x-inference-pod"] == "replica-0"
    assert body["id"] == "cmpl-r1"
    assert body["usage"]["completion_tokens"] <= 5
    assert body["usage"]["prompt_tokens"] == 2


async def test_a_stream_says_the_same_as_a_whole_answer(http: aiohttp.ClientSession) -> None:
    asked = {"prompt": "tell me", "max_tokens": 300, "n": 2, "ignore_eos": True}
    _, whole = await post(http, "/v1/completions", asked)
    texts = ["", ""]
    reasons: list[Any] = [None, None]
    async with http.post("/v1/completions", json={**asked, "stream": True}) as answer:
        assert answer.content_type == "text/event-stream"
        frames = [line[6:] for line in (await answer.read()).split(b"\n\n") if line]
    assert frames[-1] == b"[DONE]"
    for frame in frames[:-1]:
        (choice,) = msgspec.json.decode(frame)["choices"]
        assert reasons[choice["index"]] is None, "nothing comes after the reason"
        texts[choice["index"]] += choice["text"]
        reasons[choice["index"]] = choice["finish_reason"]
    assert texts == [choice["text"] for choice in whole["choices"]]
    assert reasons == ["length", "length"]
    assert len(frames) > 5


async def test_headers_of_a_stream_come_before_its_prefill(
    replica: Replica, http: aiohttp.ClientSession
) -> None:
    await replica.apply(Fault(kind="slow-start", factor=50))
    started = time.monotonic()
    async with http.post(
        "/v1/completions", json={"prompt": "x" * 40_000, "max_tokens": 1, "stream": True}
    ) as answer:
        headers_after = time.monotonic() - started
        await answer.content.readany()
        first_bytes_after = time.monotonic() - started
    assert first_bytes_after > 0.3  # 10,000 tokens of prefill at real-time speed
    assert headers_after < first_bytes_after / 3


async def test_a_client_that_leaves_frees_its_sequence(replica: Replica, http: aiohttp.ClientSession) -> None:
    answer = await http.post("/v1/completions", json=LONG)
    await answer.content.readany()
    assert replica.engine.running == 1
    answer.close()
    await until(lambda: replica.engine.running == 0)
    assert replica.engine.cache.usage == 0.0
    page = (await get(http, "/metrics"))[1]
    assert 'finished_reason="abort"} 1.0' in page


async def test_a_waiting_client_that_leaves_frees_its_sequence(
    replica: Replica, http: aiohttp.ClientSession
) -> None:
    asking = asyncio.ensure_future(http.post("/v1/completions", json={**LONG, "stream": False}))
    await until(lambda: replica.engine.running == 1)
    asking.cancel()
    await until(lambda: replica.engine.running == 0)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/completions", b"{", 400),
        ("/v1/chat/completions", b"{}", 400),
        ("/v1/completions", b'{"model": "nobody", "prompt": "x"}', 404),
        ("/v1/nothing", b"{}", 404),
        ("/v1/models", b"{}", 405),
    ],
)
async def test_mistakes_have_the_apis_shape(
    http: aiohttp.ClientSession, path: str, body: bytes, status: int
) -> None:
    async with http.post(path, data=body) as answer:
        assert answer.status == status
        error = (await answer.json())["error"]
        assert error["code"] == status
        assert error["message"]
        assert answer.headers["x-inference-pod"] == "replica-0"


async def test_models_health_and_version(http: aiohttp.ClientSession) -> None:
    cards = msgspec.json.decode((await get(http, "/v1/models"))[1])["data"]
    assert [(card["id"], card["parent"], card["max_model_len"]) for card in cards] == [
        ("m", None, 20_000),
        ("sql", "m", None),
    ]
    assert (await get(http, "/health"))[0] == 200
    assert "version" in msgspec.json.decode((await get(http, "/version"))[1])


async def test_adapters_come_and_go(http: aiohttp.ClientSession) -> None:
    legal = {"lora_name": "legal", "lora_path": "/x"}
    assert (await post(http, "/v1/completions", {**HELLO, "model": "legal"}))[0] == 404
    assert (await post(http, "/v1/load_lora_adapter", legal))[0] == 200
    assert (await post(http, "/v1/load_lora_adapter", legal))[0] == 400
    assert (await post(http, "/v1/load_lora_adapter", {}))[0] == 400
    assert (await post(http, "/v1/completions", {**HELLO, "model": "legal"}))[1]["model"] == "legal"
    assert 'max_lora="4"' in (await get(http, "/metrics"))[1]
    assert (await post(http, "/v1/unload_lora_adapter", legal))[0] == 200
    assert (await post(http, "/v1/unload_lora_adapter", legal))[0] == 404
    assert (await post(http, "/v1/completions", {**HELLO, "model": "legal"}))[0] == 404


async def test_a_second_turn_hits_the_cache(http: aiohttp.ClientSession) -> None:
    messages = [{"role": "user", "content": "tell me about gates " * 20}]
    _, first = await post(
        http, "/v1/chat/completions", {"messages": messages, "max_tokens": 100, "ignore_eos": True}
    )
    messages += [first["choices"][0]["message"], {"role": "user", "content": "and heads?"}]
    _, second = await post(http, "/v1/chat/completions", {"messages": messages, "max_tokens": 1})
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert first["usage"]["prompt_tokens"] < cached < second["usage"]["prompt_tokens"]


@pytest.mark.parametrize(("kind", "status"), [("error-500", 500), ("error-429", 429)])
async def test_errors_on_command(
    replica: Replica, http: aiohttp.ClientSession, kind: Any, status: int
) -> None:
    await replica.apply(Fault(kind=kind))
    async with http.post("/v1/completions", json=HELLO) as answer:
        assert answer.status == status
        assert ("Retry-After" in answer.headers) == (status == 429)
        assert (await answer.json())["error"]["code"] == status
    await replica.apply(Fault(kind="recover"))
    assert (await post(http, "/v1/completions", HELLO))[0] == 200


async def test_a_rate_strikes_some(replica: Replica, http: aiohttp.ClientSession) -> None:
    await replica.apply(Fault(kind="error-500", rate=0.5))
    seen = [(await post(http, "/v1/completions", HELLO))[0] for _ in range(40)]
    assert 8 < seen.count(500) < 32
    assert seen.count(200) == 40 - seen.count(500)


async def test_a_crash_cuts_everything_and_recovery_is_cold(
    replica: Replica, http: aiohttp.ClientSession
) -> None:
    answer = await http.post("/v1/completions", json=LONG)
    await answer.content.readany()
    await replica.apply(Fault(kind="crash"))
    with pytest.raises(aiohttp.ClientError):
        await answer.read()
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get("/health")
    await replica.apply(Fault(kind="recover"))
    assert (await get(http, "/health"))[0] == 200
    assert "vllm:generation_tokens_total" in (await get(http, "/metrics"))[1]
    assert (replica.engine.totals.generated_tokens, replica.engine.running) == (0, 0)
    assert (await post(http, "/v1/completions", HELLO))[0] == 200


async def test_a_replica_can_be_told_by_itself_to_crash_for_a_while(
    replica: Replica, http: aiohttp.ClientSession
) -> None:
    status, about = await post(http, "/fault", {"kind": "crash", "for_s": 0.3})
    assert (status, about["faults"][0]["kind"]) == (200, "crash")
    with pytest.raises(aiohttp.ClientConnectorError):
        await http.get("/health")
    await until(lambda: not replica.faults.active)
    assert (await get(http, "/health"))[0] == 200


async def test_a_hang_holds_requests_but_not_metrics_and_ends(
    replica: Replica, http: aiohttp.ClientSession
) -> None:
    await replica.apply(Fault(kind="hang", for_s=0.3))
    asking = asyncio.ensure_future(post(http, "/v1/completions", HELLO))
    await asyncio.sleep(0.1)
    assert not asking.done()
    assert (await get(http, "/metrics"))[0] == 200
    assert (await asking)[0] == 200


async def test_a_hang_stops_the_engine(replica: Replica, http: aiohttp.ClientSession) -> None:
    answer = await http.post("/v1/completions", json=LONG)
    await answer.content.readany()
    await replica.apply(Fault(kind="hang"))
    before = replica.engine.totals.generated_tokens
    await asyncio.sleep(0.05)
    assert replica.engine.totals.generated_tokens == before
    assert replica.engine.running == 1
    answer.close()


async def test_hang_all_holds_metrics_too(replica: Replica, http: aiohttp.ClientSession) -> None:
    await replica.apply(Fault(kind="hang-all"))
    for path in ("/metrics", "/health", "/v1/models", "/version"):
        with pytest.raises(TimeoutError):
            await http.get(path, timeout=aiohttp.ClientTimeout(total=0.05))
    assert (await post(http, "/fault", {"kind": "recover"}))[0] == 200
    assert (await get(http, "/health"))[0] == 200


async def test_a_hang_mid_stream_comes_after_the_first_token(
    replica: Replica, http: aiohttp.ClientSession
) -> None:
    await replica.apply(Fault(kind="hang-mid-stream"))
    asked = {**HELLO, "max_tokens": 200, "ignore_eos": True, "stream": True}
    answer = await http.post("/v1/completions", json=asked)
    assert (await answer.content.readany()).startswith(b"data: ")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(answer.content.readany(), 0.15)
    await replica.apply(Fault(kind="recover"))
    assert (await answer.read()).endswith(b"data: [DONE]\n\n")


async def test_a_slow_start_is_slow_for_a_while(replica: Replica, http: aiohttp.ClientSession) -> None:
    async def seconds() -> float:
        started = time.monotonic()
        await post(http, "/v1/completions", {**HELLO, "max_tokens": 200, "ignore_eos": True})
        return time.monotonic() - started

    normal = await seconds()
    await replica.apply(Fault(kind="slow-start", factor=10, for_s=0.2))
    assert await seconds() > 3 * normal
    await until(lambda: not replica.faults.active)
    assert await seconds() < 2 * normal + 0.02


async def test_stale_and_missing_metrics(replica: Replica, http: aiohttp.ClientSession) -> None:
    await replica.apply(Fault(kind="stale-metrics"))
    before = await get(http, "/metrics")
    await post(http, "/v1/completions", HELLO)
    assert await get(http, "/metrics") == before
    await replica.apply(Fault(kind="no-metrics"))
    assert (await get(http, "/metrics"))[0] == 404
    await replica.apply(Fault(kind="recover"))
    fresh = await get(http, "/metrics")
    assert fresh[0] == 200
    assert fresh != before


async def test_faults_are_listed_and_nonsense_is_refused(http: aiohttp.ClientSession) -> None:
    assert (await post(http, "/fault", {"kind": "explode"}))[0] == 400
    assert (await post(http, "/fault", {"kind": "hang", "rate": 7}))[0] == 400
    await post(http, "/fault", {"kind": "error-429", "rate": 0.25})
    listed = msgspec.json.decode((await get(http, "/fault"))[1])
    assert listed["faults"] == [{"kind": "error-429", "rate": 0.25, "for_s": None, "factor": 5.0}]


async def test_a_large_body_is_read_whole(http: aiohttp.ClientSession) -> None:
    body = io.BytesIO(msgspec.json.encode({"prompt": "x" * (20 * 1024 * 1024), "max_tokens": 1}))
    async with http.post("/v1/completions", data=body) as answer:
        assert answer.status == 400
        assert "maximum context length" in (await answer.json())["error"]["message"]


async def test_a_sleeping_engine_says_so_forgets_its_cache_and_lets_requests_wait(
    http: aiohttp.ClientSession,
) -> None:
    async def load() -> Load:
        found = read_load((await get(http, "/metrics"))[1].encode())
        assert found is not None
        return found

    long = {"prompt": "hello " * 200, "max_tokens": 1}
    await post(http, "/v1/completions", long)
    _, again = await post(http, "/v1/completions", long)
    assert not (await load()).asleep
    assert again["usage"]["prompt_tokens_details"]["cached_tokens"] > 0
    async with http.post("/sleep?level=1") as answer:
        assert answer.status == 200
    assert ((await load()).asleep, (await get(http, "/is_sleeping"))[1]) == (True, '{"is_sleeping":true}')
    waiting = asyncio.create_task(post(http, "/v1/completions", long))
    assert (await get(http, "/health"))[0] == 200
    assert not waiting.done()
    async with http.post("/wake_up") as answer:
        assert answer.status == 200
    status, answered = await waiting
    assert status == 200
    assert not (answered["usage"]["prompt_tokens_details"] or {}).get("cached_tokens")
    assert not (await load()).asleep


async def test_answers_are_kept_until_the_server_ends(replica: Replica, http: aiohttp.ClientSession) -> None:
    asked = {"input": "hello", "max_output_tokens": 5}
    status, first = await post(http, "/v1/responses", asked)
    assert (status, first["object"]) == (200, "response")
    status, second = await post(http, "/v1/responses", {**asked, "previous_response_id": first["id"]})
    assert status == 200
    assert second["usage"]["input_tokens"] > first["usage"]["input_tokens"]
    path = f"/v1/responses/{first['id']}"
    assert msgspec.json.decode((await get(http, path))[1]) == first
    assert (await post(http, path + "/cancel", {}))[0] == 400
    async with http.delete(path) as answer:
        assert (await answer.json())["deleted"] is True
    assert (await get(http, path))[0] == 404
    assert (await post(http, path + "/cancel", {}))[0] == 404
    await replica.apply(Fault(kind="crash"))
    await replica.apply(Fault(kind="recover"))
    async with aiohttp.ClientSession(replica.url) as fresh:
        assert (await post(fresh, "/v1/responses", {**asked, "previous_response_id": second["id"]}))[0] == 404


async def test_a_streamed_answer_is_kept_before_its_end_is_told(http: aiohttp.ClientSession) -> None:
    _, begun = await post(http, "/v1/conversations", {})
    asked = {"input": "hello", "max_output_tokens": 5, "stream": True, "conversation": begun["id"]}
    for _ in range(2):
        async with http.post("/v1/responses", json=asked) as answer:
            raw = await answer.read()
        last = msgspec.json.decode(raw.rpartition(b"data: ")[2])["response"]
        assert raw.startswith(b"event: response.created\n")
        assert last["conversation"] == {"id": begun["id"]}
        assert msgspec.json.decode((await get(http, f"/v1/responses/{last['id']}"))[1]) == last
    assert (await get(http, f"/v1/conversations/{begun['id']}"))[0] == 200
