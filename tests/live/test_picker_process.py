"""The real picker process, driven by a gRPC client and by the real Envoy in every body mode."""

import asyncio
import contextlib
import io
import json
import signal
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests import manifests as manifest
from tests.live.harness.envoy_with_picker import BodyMode, envoy_with_picker
from tests.live.harness.model_server import CACHED_TOKENS, PROMPT_TOKENS, ScriptedModelServer
from tests.live.harness.picker import Picker, picker
from tests.live.harness.processes import run_headgate
from tests.manifests import Manifest

pytestmark = pytest.mark.live

PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
CHECK = "/grpc.health.v1.Health/Check"
MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.fixture(autouse=True, params=["portable", "native"])
def _wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything here holds with either wire."""
    if request.param == "native":
        pytest.importorskip("headgate_native")
    monkeypatch.setenv("HEADGATE_WIRE", request.param)


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModelServer]:
    made = ScriptedModelServer()
    made.models = ["m", "food-review-2"]
    async with made.running():
        yield made


def objects(server: ScriptedModelServer) -> list[Manifest]:
    return [
        manifest.pool("pool"),
        manifest.model_server("one", server.address, app="pool"),
        manifest.model("food", "pool", "food-review-2", asked="food-review"),
        manifest.model("base", "pool", asked="m"),
    ]


class Client:
    """Both ends of the stack: a URL to ask and the picker behind it."""

    def __init__(self, mode: BodyMode, url: str, picker: Picker, http: aiohttp.ClientSession) -> None:
        self.mode, self.url, self.picker, self.http = mode, url, picker, http

    async def post(self, body: Any, **headers: str) -> tuple[int, bytes, dict[str, str]]:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"content-type": "application/json", **headers}
        async with self.http.post(
            f"{self.url}/v1/chat/completions", data=io.BytesIO(data), headers=sent
        ) as answer:
            return answer.status, await answer.read(), {k.lower(): v for k, v in answer.headers.items()}


@contextlib.asynccontextmanager
async def stack(
    mode: BodyMode, folder: Path, server: ScriptedModelServer, *arguments: str
) -> AsyncIterator[Client]:
    file = manifest.write(folder / "objects.yaml", *objects(server))
    async with picker("-f", str(file), "--pool-name", "pool", *arguments) as process:
        tls = "--secure-serving=false" not in arguments
        async with (
            envoy_with_picker(mode, folder, process.grpc, [server.address], tls=tls) as url,
            aiohttp.ClientSession() as http,
        ):
            await process.until_ready()
            yield Client(mode, url, process, http)


@pytest.fixture(params=["duplex", "lean", "skip"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, server: ScriptedModelServer
) -> AsyncIterator[Client]:
    async with stack(request.param, tmp_path, server, "--secure-serving=false") as made:
        yield made


async def test_requests_through_envoy(client: Client, server: ScriptedModelServer) -> None:
    body = b'{"model": "m",  "messages": [{"role":"user","content":"hi"}], "messages2": 1.50}'
    status, answer, headers = await client.post(body, **{"x-gateway-destination-endpoint": "9.9.9.9:1"})
    assert (status, json.loads(answer)["model"]) == (200, "m")
    assert server.bodies == [body]
    if client.mode == "duplex":
        assert headers["x-headgate-endpoint"] == server.address
        assert headers["x-headgate-decision"].startswith("default")
        assert server.headers[0]["x-gateway-destination-endpoint"] == server.address
    record = await client.picker.concluded()
    assert record["decision"]["chosen"] == [server.address]
    assert record["outcome"]["ending"] == ("lost" if client.mode == "skip" else "complete")

    status, answer, _ = await client.post({"model": "m", "messages": MESSAGES, "stream": True})
    assert status == 200
    assert answer.count(b"data:") == server.events + 2
    await asyncio.sleep(0.2)
    record = await client.picker.concluded()
    if client.mode != "skip":
        assert record["outcome"]["usage"] == {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": server.events,
            "cached_tokens": CACHED_TOKENS,
        }
        assert record["outcome"]["served"] == server.address
        assert record["outcome"]["ttft_s"] > 0

    big = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * (8 << 20)}]}).encode()
    assert (await client.post(big))[0] == 200
    assert server.bodies[-1] == big
    await client.picker.idle()


async def test_the_model_is_rewritten_and_restored(client: Client, server: ScriptedModelServer) -> None:
    status, answer, _ = await client.post(b'{"messages":[],\t"model":"food-review" }')
    assert status == 200
    assert server.bodies == [b'{"messages":[],\t"model":"food-review-2" }']
    if client.mode == "skip":
        return
    assert json.loads(answer)["model"] == "food-review"
    _, answer, _ = await client.post({"model": "food-review", "messages": [], "stream": True})
    events = [line[6:] for line in answer.split(b"\n\n") if line.startswith(b"data: {")]
    assert len(events) == server.events + 1
    assert {json.loads(event)["model"] for event in events} == {"food-review"}


async def test_mistakes_have_their_status(client: Client, server: ScriptedModelServer) -> None:
    for body, expected, reason in (
        (b"{", 400, "bad-request"),
        (b'{"messages":[]}', 400, "bad-request"),
        (b'{"model":"nobody","messages":[]}', 404, "unknown-model"),
    ):
        status, answer, headers = await client.post(body)
        assert (status, headers["x-headgate-reason"]) == (expected, reason), answer
        assert json.loads(answer)["error"]["param"] in (None, "model")
    assert server.bodies == []
    status, _, _ = await client.post(b"not json", **{"content-type": "text/plain"})
    assert status == 200
    async with client.http.get(f"{client.url}/v1/models") as listed:
        assert listed.status == 200
        assert "m" in [each["id"] for each in (await listed.json())["data"]]


async def test_an_aborted_stream_frees_its_place(client: Client, server: ScriptedModelServer) -> None:
    server.gaps_s, server.events = 0.1, 100
    body = json.dumps({"model": "m", "messages": MESSAGES, "stream": True}).encode()
    headers = {"content-type": "application/json"}
    async with client.http.post(f"{client.url}/v1/chat/completions", data=body, headers=headers) as answer:
        await answer.content.readany()
        assert await client.picker.in_flight() == 1
        answer.close()
    record = await client.picker.concluded()
    assert record["outcome"]["ending"] == ("lost" if client.mode == "skip" else "aborted")
    await client.picker.idle()


async def test_tls_by_default_and_many_streams(tmp_path: Path, server: ScriptedModelServer) -> None:
    async with stack("duplex", tmp_path, server) as client:
        body = {"model": "m", "messages": MESSAGES, "stream": True}
        found = await asyncio.gather(*(client.post(body) for _ in range(50)))
        assert {status for status, _, _ in found} == {200}
        page = (await client.picker.get("/metrics", client.picker.metrics))[1]
        assert 'inference_objective_request_total{model_name="m",target_model_name="m"} 50.0' in page
        assert 'inference_pool_ready_pods{name="default/pool"} 1.0' in page


def message(headers: dict[str, str], *, end: bool = False) -> bytes:
    made = pb.ProcessingRequest()
    for key, value in headers.items():
        made.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    made.request_headers.end_of_stream = end
    data: bytes = made.SerializeToString()
    return data


async def ask(port: int, *messages: bytes, pool: str = "", lean: bool = False) -> list[Any]:
    """One ext_proc stream by hand: its answers. *lean*: as our own Envoy asks."""
    channel: Any
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        metadata = ((("x-headgate-pool", pool),) if pool else ()) + (
            (("x-headgate-lean", "1"),) if lean else ()
        )

        def sent() -> Iterator[bytes]:
            yield from messages

        call = channel.stream_stream(PROCESS)(sent(), metadata=metadata)
        return [pb.ProcessingResponse.FromString(data) async for data in call]


@contextlib.asynccontextmanager
async def held(port: int, pool: str) -> AsyncIterator[Any]:
    """A stream that was answered and stays open."""
    channel: Any
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.stream_stream(PROCESS)(metadata=(("x-headgate-pool", pool),) if pool else ())
        await call.write(GET)
        assert pb.ProcessingResponse.FromString(await call.read()).HasField("dynamic_metadata")
        yield call


async def check(port: int, service: str) -> bytes:
    channel: Any
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        name = service.encode()
        answer: bytes = await channel.unary_unary(CHECK)(bytes([0x0A, len(name)]) + name if name else b"")
        return answer


GET = message({":method": "GET", ":path": "/x"}, end=True)


def of_cluster(name: str) -> bytes:
    """`GET`, with the name of the cluster that the request is on its way to."""
    told = pb.ProcessingRequest.FromString(GET)
    told.attributes["envoy.filters.http.ext_proc"]["xds.cluster_name"] = name
    data: bytes = told.SerializeToString()
    return data


_ANSWER = pb.ProcessingRequest()
_ANSWER.response_headers.headers.headers.add(key=":status", raw_value=b"200")
_ANSWER.response_headers.end_of_stream = True
ANSWER = _ANSWER.SerializeToString()


async def test_pools_health_and_drain(tmp_path: Path) -> None:
    file = tmp_path / "pools.yaml"
    pools = [manifest.pool(name) for name in "ab"]
    servers = [manifest.model_server(name, f"127.0.0.1:{port}", name) for name, port in (("a", 1), ("b", 2))]
    manifest.write(file, *pools, *servers)
    async with picker("-f", str(file), "--secure-serving=false", "-drainTimeout", "3s") as process:
        await process.until_ready()
        for name, port in (("a", 1), ("b", 2)):
            (answer,) = await ask(process.grpc, GET, pool=f"default/{name}")
            chosen = answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"]
            assert chosen.startswith(f"127.0.0.1:{port}")
        for wrong in ("", "default/c"):
            (answer,) = await ask(process.grpc, GET, pool=wrong)
            assert answer.immediate_response.status.code == 503
            assert b"pool" in answer.immediate_response.body
        (answer,) = await ask(process.grpc, of_cluster("pool/default/b"), lean=True)
        assert answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"] == "127.0.0.1:2"
        for wrong in ("pool/default/c", "service/default/a:80", ""):
            with pytest.raises(grpc.aio.AioRpcError) as unserved:
                await ask(process.grpc, of_cluster(wrong), lean=True)
            assert unserved.value.code() is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(grpc.aio.AioRpcError) as broken:
            await ask(process.grpc, b"\xff\xff", pool="default/a")
        assert broken.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        for service in ("", "liveness", "readiness", "inference-extension"):
            assert await check(process.health, service) == b"\x08\x01"
        assert await check(process.grpc, "envoy.service.ext_proc.v3.ExternalProcessor") == b"\x08\x01"
        with pytest.raises(grpc.aio.AioRpcError):
            await check(process.health, "nobody")
        async with held(process.grpc, "default/a") as call:
            process.child.signal(signal.SIGTERM)
            while await check(process.health, "readiness") != b"\x08\x02":
                await asyncio.sleep(0.05)
            assert await check(process.health, "liveness") == b"\x08\x01"
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await ask(process.grpc, GET, pool="default/a")
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
            await call.write(ANSWER)
            said = pb.ProcessingResponse.FromString(await call.read())
            assert said.HasField("response_headers")
            await call.done_writing()
            assert await call.code() is grpc.StatusCode.OK
        assert await asyncio.to_thread(process.child.end, 20) == 0


async def test_a_stream_that_outlives_the_drain_is_cut(tmp_path: Path) -> None:
    async with picker(
        "--endpoints", "127.0.0.1:1", "--secure-serving=false", "-drainTimeout", "1s"
    ) as process:
        await process.until_ready()
        async with held(process.grpc, "") as call:
            process.child.signal(signal.SIGTERM)
            assert await call.code() is not grpc.StatusCode.OK
        assert await asyncio.to_thread(process.child.end, 20) == 0


async def test_a_certificate_is_made_at_start() -> None:
    async with picker("--endpoints", "127.0.0.1:1") as process:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("127.0.0.1", process.grpc, ssl=context)
        assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "h2"
        writer.close()
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()


async def test_a_port_in_use_is_told_in_one_line() -> None:
    async with picker("--endpoints", "127.0.0.1:1", "--secure-serving=false") as first:
        ports = ["--grpc-port", str(first.grpc), "--grpc-health-port", "-1", "--metrics-port", "-1"]
        told = await asyncio.to_thread(
            run_headgate, "picker", "--endpoints", "127.0.0.1:1", "--host", "127.0.0.1", *ports
        )
        assert told.returncode == 1
        assert "Traceback" not in told.stderr
        assert str(first.grpc) in told.stderr
