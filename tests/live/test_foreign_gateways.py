"""`headgate picker` behind real Envoys configured as other vendors' gateways configure them."""

import asyncio
import contextlib
import io
import json
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.live.harness.envoy import Json, address, assignment, listener, running_envoy, typed
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.picker import Picker, picker
from tests.live.harness.processes import free_port

pytestmark = pytest.mark.live

DESTINATION = "x-gateway-destination-endpoint"
BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
DUPLEX = {
    "request_header_mode": "SEND",
    "response_header_mode": "SEND",
    "request_body_mode": "FULL_DUPLEX_STREAMED",
    "response_body_mode": "FULL_DUPLEX_STREAMED",
    "request_trailer_mode": "SEND",
    "response_trailer_mode": "SEND",
}
NOTHING = {
    "request_header_mode": "SKIP",
    "response_header_mode": "SKIP",
    "request_body_mode": "NONE",
    "response_body_mode": "NONE",
    "request_trailer_mode": "SKIP",
    "response_trailer_mode": "SKIP",
}
BUFFERED = {"request_header_mode": "SEND", "request_body_mode": "BUFFERED", "response_header_mode": "SKIP"}
LB = {"receiving_namespaces": {"untyped": ["envoy.lb"]}, "forwarding_namespaces": {"untyped": ["envoy.lb"]}}
ORIGINAL_DST = {
    "name": "pool",
    "type": "ORIGINAL_DST",
    "lb_policy": "CLUSTER_PROVIDED",
    "connect_timeout": "10s",
    "original_dst_lb_config": {"use_http_header": True, "http_header_name": DESTINATION},
}
EXT_PROC = "envoy.filters.http.ext_proc"
RETRIES = "istio with retries"
ISTIO_CLUSTER = "outbound|9002||epp.default.svc.cluster.local"
CLUSTERS = {"istio": ISTIO_CLUSTER, RETRIES: ISTIO_CLUSTER, "llm-d": "ext_proc"}
"""What the picker's cluster is called; kgateway's are `KGATEWAY_CLUSTER`."""
KGATEWAY_CLUSTER = "endpointpicker_pool_default_ext_proc"
AUTHORITIES = {"kgateway-2.0": "epp.default.svc:9002", "kgateway-2.1": "epp.default.svc:9002"}
"""What they name; Envoy sends the cluster's name where nothing is named."""
OTHER_CLUSTERS = [
    ISTIO_CLUSTER,
    "envoy-gateway/default/epp",
    "httproute/default/llm/rule/0",
    "kube_default_epp_9002",
    KGATEWAY_CLUSTER,
    "epp.default.svc:9002",
    "epp:9002:1",
    "a%2Fb",
    "a b",
    "a|b",
    "a@b@c",
    "[epp",
    "epp?x=1#y",
    '<a>"{b}\\^`',
]


def asks(cluster: str, authority: str | None = None) -> Json:
    named = {} if authority is None else {"authority": authority}
    return {"envoy_grpc": {"cluster_name": cluster, **named}, "timeout": "10s"}


def ext_proc(**fields: Any) -> Json:
    return typed("filters.http.ext_proc.v3.ExternalProcessor", **fields)


def policy(config: Json) -> Json:
    return {"policies": [{"typed_extension_config": {"name": "policy", "typed_config": config}}]}


def istio(endpoints: list[str], picker: Json) -> tuple[list[tuple[str, Json]], Json, Json]:
    """A filter that asks a cluster that is not there for nothing, overridden by the route."""
    idle = ext_proc(
        grpc_service=asks("dummy"),
        processing_mode=NOTHING,
        failure_mode_allow=True,
        message_timeout="1000s",
        metadata_options=LB,
    )
    overrides = {"grpc_service": picker, "processing_mode": DUPLEX, "failure_mode_allow": False}
    route = {
        "typed_per_filter_config": {
            EXT_PROC: typed("filters.http.ext_proc.v3.ExtProcPerRoute", overrides=overrides)
        }
    }
    override = typed(
        "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": {"key": "envoy.lb", "path": [{"key": DESTINATION}]}}],
        selected_host_key={"key": "envoy.lb", "path": [{"key": f"{DESTINATION}-served"}]},
        fallback_policy=policy(typed("load_balancing_policies.round_robin.v3.RoundRobin")),
    )
    pool = {
        "name": "pool",
        "type": "STATIC",
        "load_balancing_policy": policy(override),
        "load_assignment": assignment("pool", endpoints),
    }
    return [(EXT_PROC, idle)], route, pool


def istio_with_retries(endpoints: list[str], picker: Json) -> tuple[list[tuple[str, Json]], Json, Json]:
    """The same, and it says that it walks lists."""
    told = {"initial_metadata": [{"key": "x-headgate-fallbacks", "value": "1"}]}
    filters, route, pool = istio(endpoints, {**picker, **told})
    retries = {"retry_on": "retriable-status-codes", "retriable_status_codes": [503], "num_retries": 2}
    forward = {"cluster": "pool", "timeout": "86400s", "retry_policy": retries}
    return filters, {**route, "route": forward}, pool


def llm_d(_: list[str], picker: Json) -> tuple[list[tuple[str, Json]], Json, Json]:
    """The standalone chart: every byte through the picker, and wherever its header says."""
    config = ext_proc(
        grpc_service=picker,
        processing_mode=DUPLEX,
        failure_mode_allow=True,
        message_timeout="1000s",
        metadata_options=LB,
    )
    return [(EXT_PROC, config)], {}, ORIGINAL_DST


def kgateway_2_0(_: list[str], picker: Json) -> tuple[list[tuple[str, Json]], Json, Json]:
    """The body at once, and nothing of the answer."""
    config = ext_proc(grpc_service=picker, processing_mode=BUFFERED, message_timeout="5s")
    return [(EXT_PROC, config)], {"request_body_buffer_limit": 64 << 20}, ORIGINAL_DST


def kgateway_2_1(endpoints: list[str], picker: Json) -> tuple[list[tuple[str, Json]], Json, Json]:
    """Subsets keyed by address, with all endpoints as a hint, the header copied to metadata."""
    namespaces = {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]}
    config = ext_proc(
        grpc_service=picker,
        processing_mode=DUPLEX,
        message_timeout="5s",
        metadata_options={
            "receiving_namespaces": {"untyped": ["envoy.lb"]},
            "forwarding_namespaces": namespaces,
        },
    )
    hint = {"metadata_namespace": "envoy.lb.subset_hint", "value": {f"{DESTINATION}-subset": endpoints}}
    present = {"metadata_namespace": "envoy.lb", "key": DESTINATION, "type": "STRING"}
    copied = typed(
        "filters.http.header_to_metadata.v3.Config",
        request_rules=[{"header": DESTINATION, "on_header_present": present}],
    )
    hosts = [
        {
            "endpoint": {"address": address(each)},
            "metadata": {"filter_metadata": {"envoy.lb": {DESTINATION: each}}},
        }
        for each in endpoints
    ]
    pool = {
        "name": "pool",
        "type": "STATIC",
        "lb_subset_config": {
            "fallback_policy": "ANY_ENDPOINT",
            "subset_selectors": [{"keys": [DESTINATION]}],
        },
        "load_assignment": {"cluster_name": "pool", "endpoints": [{"lb_endpoints": hosts}]},
    }
    filters = [
        ("envoy.filters.http.set_metadata", typed("filters.http.set_metadata.v3.Config", metadata=[hint])),
        (EXT_PROC, config),
        ("envoy.filters.http.header_to_metadata", copied),
    ]
    return filters, {}, pool


GATEWAYS: dict[str, Callable[[list[str], Json], tuple[list[tuple[str, Json]], Json, Json]]] = {
    "istio": istio,
    "llm-d": llm_d,
    "kgateway-2.0": kgateway_2_0,
    "kgateway-2.1": kgateway_2_1,
}
"""How each is configured: its filters, what its route adds, its cluster of model servers."""


def picker_cluster(name: str, port: int, **tls_params: str) -> Json:
    """Istio's asks for a server of the cluster's own name (SNI), which is no host's name. With *tls_params* each
    call has a connection of its own."""
    http2 = typed(
        "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    if name == ISTIO_CLUSTER:
        http2["upstream_http_protocol_options"] = {"auto_sni": True}
    if tls_params:
        http2["common_http_protocol_options"] = {"max_requests_per_connection": 1}
    context = typed(
        "transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context={"tls_params": tls_params}
    )
    return {
        "name": name,
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context},
        "load_assignment": assignment(name, [f"127.0.0.1:{port}"]),
    }


class Stack:
    """A gateway, our picker behind it with TLS as it comes, and two model servers."""

    def __init__(self, kind: str, url: str, picker: Picker, servers: list[ScriptedModelServer]) -> None:
        self.kind, self.url, self.picker, self.servers = kind, url, picker, servers
        self.port = int(url.rpartition(":")[2])

    @property
    def bodies(self) -> list[bytes]:
        return [body for server in self.servers for body in server.bodies]

    async def quiet(self) -> None:
        """Until nothing is left of any request."""
        async with asyncio.timeout(10):
            while (status := await self.picker.status())["open_streams"] or status["pools"][0]["in_flight"]:
                await asyncio.sleep(0.05)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def stack(
    kind: str, folder: Path, names: Sequence[str] = (), **tls_params: str
) -> AsyncIterator[Stack]:
    """With several *names* of the picker's cluster, the header `x-name` chooses one by its number."""
    async with contextlib.AsyncExitStack() as parts:
        servers = [await parts.enter_async_context(ScriptedModelServer().running()) for _ in range(2)]
        endpoints = [server.address for server in servers]
        process = await parts.enter_async_context(picker("--endpoints", ",".join(endpoints)))
        configured = istio_with_retries if kind == RETRIES else GATEWAYS[kind]
        pickers, routes = [], []
        for number, name in enumerate(names or [CLUSTERS.get(kind, KGATEWAY_CLUSTER)]):
            pickers.append(picker_cluster(name, process.grpc, **tls_params))
            filters, route, pool = configured(endpoints, asks(name, AUTHORITIES.get(kind)))
            chosen = [{"name": "x-name", "string_match": {"exact": str(number)}}] if names else []
            match = {"prefix": "/", "headers": chosen}
            routes.append({"match": match, "route": {"cluster": "pool", "timeout": "86400s"}, **route})
        manager = {
            "http_protocol_options": {"enable_trailers": True},
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [
                *({"name": name, "typed_config": config} for name, config in filters),
                {"name": "envoy.filters.http.router", "typed_config": typed("filters.http.router.v3.Router")},
            ],
        }
        port = free_port()
        front = {**listener(port, manager), "per_connection_buffer_limit_bytes": 32768}
        dummy = {"name": "dummy", "type": "STATIC", "load_assignment": assignment("dummy", [])}
        clusters = [pool, *pickers, dummy]
        await parts.enter_async_context(running_envoy([front], clusters, folder))
        await process.until_ready()
        yield Stack(kind, f"http://127.0.0.1:{port}", process, servers)


@pytest.fixture(params=sorted(GATEWAYS))
async def gateway(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stack]:
    async with stack(request.param, tmp_path) as made:
        yield made


async def test_every_kind_of_request(gateway: Stack) -> None:
    chat, forged = f"{gateway.url}/v1/chat/completions", {DESTINATION: "127.0.0.1:1"}
    async with aiohttp.ClientSession() as http:
        async with http.post(chat, json=BODY, headers=forged) as answer:
            assert (answer.status, (await answer.json())["model"]) == (200, "m"), await answer.text()
            if gateway.kind != "kgateway-2.0":
                decision = answer.headers["x-headgate-decision"]
                assert answer.headers["x-headgate-endpoint"] in [s.address for s in gateway.servers], decision
        async with http.post(chat, json={**BODY, "stream": True}) as answer:
            assert (await answer.text()).endswith("data: [DONE]\n\n")
        async with http.get(f"{gateway.url}/version", headers=forged) as answer:
            assert answer.status == 200, await answer.text()
        big = json.dumps({**BODY, "pad": "x" * (8 << 20)}).encode()
        async with http.post(
            chat, data=io.BytesIO(big), headers={"content-type": "application/json"}
        ) as answer:
            assert answer.status == 200, await answer.text()
            arrived = gateway.bodies.count(big)
            assert arrived == 1
        async with http.post(chat, data=b"{", headers={"content-type": "application/json"}) as answer:
            assert (answer.status, answer.headers["x-headgate-reason"]) == (400, "bad-request")
        async with http.get(f"{gateway.url}/v1/models") as answer:
            assert [card["id"] for card in (await answer.json())["data"]] == ["m"]
        for server in gateway.servers:
            server.mode = "big"
        async with http.post(chat, json=BODY) as answer:
            assert len((await answer.json())["data"]) == 3 << 19
    await gateway.quiet()
    outcome = (await gateway.picker.concluded())["outcome"]
    assert outcome["ending"] == ("lost" if gateway.kind == "kgateway-2.0" else "complete")
    if gateway.kind == "istio":
        assert outcome["served"] in [server.address for server in gateway.servers]


async def test_fifty_at_once_are_shared_fairly_and_leave_nothing(gateway: Stack) -> None:
    async def one(http: aiohttp.ClientSession, number: int) -> int:
        body = {**BODY, "stream": number % 2 == 0, "n": number}
        async with http.post(f"{gateway.url}/v1/chat/completions", json=body) as answer:
            text = await answer.text()
            return answer.status if "usage" in text else 0

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        statuses = await asyncio.gather(*(one(http, number) for number in range(50)))
    assert statuses == [200] * 50
    assert sorted(json.loads(body)["n"] for body in gateway.bodies) == list(range(50))
    assert all(len(server.bodies) >= 10 for server in gateway.servers)
    await gateway.quiet()


async def test_request_trailers_and_odd_chunks(gateway: Stack) -> None:
    text = json.dumps(BODY).encode()
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
    reader, writer = await gateway.connect()
    writer.write(head + b"transfer-encoding: chunked\r\ntrailer: x-end\r\nconnection: close\r\n\r\n")
    for byte in text:
        writer.write(b"1\r\n%c\r\n" % byte)
        await writer.drain()
    writer.write(b"0\r\nx-end: yes\r\n\r\n")
    answer = await reader.read()
    assert re.match(rb"HTTP/1.1 200 ", answer), answer
    assert gateway.bodies == [text]
    writer.close()
    await gateway.quiet()


async def test_http2_from_the_client(gateway: Stack) -> None:
    command = ["curl", "-sS", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-d"]
    command += [json.dumps({**BODY, "stream": True}), "-H", "content-type: application/json"]
    url = f"{gateway.url}/v1/chat/completions"
    done = await asyncio.to_thread(
        subprocess.run, [*command, url], capture_output=True, text=True, timeout=20
    )
    assert done.stdout.endswith("data: [DONE]\n\n2 200"), (done.stdout, done.stderr)
    await gateway.quiet()


async def test_clients_that_go_away_in_every_phase(gateway: Stack) -> None:
    for server in gateway.servers:
        server.events, server.gaps_s = 1000, 0.05
    whole = json.dumps({**BODY, "stream": True}).encode()
    head = (
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n"
        b"content-length: %d\r\n\r\n" % len(whole)
    )
    for sent, heard in ((head, 0), (head + whole[:9], 0), (head + whole, 0), (head + whole, 300)):
        for _ in range(5):
            reader, writer = await gateway.connect()
            writer.write(sent)
            await writer.drain()
            if heard:
                await reader.readexactly(heard)
            else:
                await asyncio.sleep(0.02)
            writer.close()
            await writer.wait_closed()
    await gateway.quiet()
    for server in gateway.servers:
        server.events = 2
    chat = f"{gateway.url}/v1/chat/completions"
    async with aiohttp.ClientSession() as http, http.post(chat, json=BODY) as answer:
        assert answer.status == 200, await answer.text()
    (pool,) = (await gateway.picker.status())["pools"]
    assert [one["condition"] for one in pool["endpoints"]] == ["up", "up"], pool
    assert not [line for line in gateway.picker.child.err if "Traceback" in line], gateway.picker.child


async def test_a_picker_that_is_told_to_end_cuts_no_running_answer(gateway: Stack) -> None:
    for server in gateway.servers:
        server.events, server.gaps_s = 40, 0.05

    async def one(http: aiohttp.ClientSession) -> str:
        async with http.post(f"{gateway.url}/v1/chat/completions", json={**BODY, "stream": True}) as answer:
            return await answer.text()

    async with aiohttp.ClientSession() as http:
        running = [asyncio.create_task(one(http)) for _ in range(8)]
        await asyncio.sleep(0.5)
        gateway.picker.child.signal(signal.SIGTERM)
        await asyncio.sleep(0.2)
        assert (await gateway.picker.get("/readyz"))[0] == 503
        texts = await asyncio.gather(*running)
    assert all(text.endswith("data: [DONE]\n\n") for text in texts)
    assert await asyncio.to_thread(gateway.picker.child.end) == 0


async def test_a_busy_server_is_passed_over_and_rests(tmp_path: Path) -> None:
    async with stack(RETRIES, tmp_path) as gateway, aiohttp.ClientSession() as http:
        busy, other = gateway.servers
        busy.mode = "503"
        for sent in range(20):
            async with http.post(f"{gateway.url}/v1/chat/completions", json={**BODY, "n": sent}) as answer:
                assert answer.status == 200, await answer.text()
                assert answer.headers["x-headgate-endpoint"] == other.address
            if len(busy.bodies) == 1:
                (pool,) = (await gateway.picker.status())["pools"]
                assert {one["condition"] for one in pool["endpoints"]} == {"up"}, pool
        await gateway.quiet()
        assert 1 <= len(busy.bodies) <= 5, "it rests once it was passed over"


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("wire", ["portable", "native"])
async def test_tls_is_spoken_with_who_asks_for_a_name_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: str, version: str
) -> None:
    """Each call on a connection of its own."""
    if wire == "native":
        pytest.importorskip("headgate_native")
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    params = {"tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version}
    async with stack("istio", tmp_path, **params) as gateway, aiohttp.ClientSession() as http:
        for _ in range(5):
            async with http.post(f"{gateway.url}/v1/chat/completions", json=BODY) as answer:
                assert answer.status == 200, await answer.text()
        await gateway.quiet()


@pytest.mark.parametrize("wire", ["portable", "native"])
async def test_any_cluster_s_name_is_served_as_authority(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    if wire == "native":
        pytest.importorskip("headgate_native")
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    async with stack("istio", tmp_path, OTHER_CLUSTERS) as gateway, aiohttp.ClientSession() as http:
        chat = f"{gateway.url}/v1/chat/completions"
        statuses: dict[str, list[int]] = {name: [] for name in OTHER_CLUSTERS}
        for number, name in enumerate(OTHER_CLUSTERS):
            for _ in range(3):
                async with http.post(chat, json=BODY, headers={"x-name": str(number)}) as answer:
                    statuses[name].append(answer.status)
        assert statuses == {name: [200] * 3 for name in OTHER_CLUSTERS}
        assert len(gateway.bodies) == 3 * len(OTHER_CLUSTERS)
