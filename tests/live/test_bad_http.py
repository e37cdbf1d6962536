"""What Envoy answers by itself to requests that it cannot or will not serve, and old clients that it serves."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import free_port
from tests.live.harness.raw import Answer, http1, http2
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.live.harness.translated import translated_envoy

from headgate.gateway.envoy.own_answers import reasons
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

pytestmark = pytest.mark.live

HEADERS_TIMEOUT_S = 1.0


class Edge:
    """A gateway with one model server: pool `pool` takes all but `/admin`, which is a Service of its own."""

    def __init__(self) -> None:
        self.server, self.picker = ScriptedModelServer(), ScriptedPicker()
        self.picker.endpoints = [self.server.address]
        self.settings = GatewaySettings(
            port=free_port(),
            address="127.0.0.1",
            picker_address=self.picker.address,
            headers_timeout_s=HEADERS_TIMEOUT_S,
        )

    async def http1(self, data: str, method: str = "GET") -> Answer:
        """The answer to a request as it stands, with line breaks as HTTP has them."""
        return await asyncio.to_thread(
            http1, self.settings.port, data.replace("\n", "\r\n").encode("latin-1"), method
        )

    async def http2(self, fields: dict[str, str]) -> Answer:
        """The answer to a request without a body."""
        [answer] = await asyncio.to_thread(http2, self.settings.port, fields)
        assert answer is not None
        return answer


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    made = Edge()
    found = manifest.snapshot(
        manifest.gateway(),
        manifest.route(manifest.rule("pool", path="/v1"), manifest.rule("pool", path="/public")),
        manifest.pool("pool"),
        manifest.model_server("one", made.server.address, "pool"),
    )
    async with made.server.running(), translated_envoy(found, made.settings, tmp_path), made.picker.running():
        yield made


def reason(answer: Answer, settings: GatewaySettings) -> str:
    """The reason of an error, which must look as OpenAI's do and be counted by its name."""
    error = json.loads(answer.body)["error"]
    assert answer.headers["content-type"] == "application/json"
    assert set(error) == {"message", "type", "param", "code"} and error["message"]
    told = answer.headers[headers.REASON]
    assert error["code"] == told and told in reasons(settings)
    assert answer.headers.get(headers.DECISION) in ("none", None)
    return told


WRONG: dict[str, tuple[str, int, str]] = {
    "no host": ("GET /v1/models HTTP/1.1\n\n", 400, "bad-host"),
    "a host that is none": ("GET /v1/models HTTP/1.1\nhost: a b\n\n", 400, "bad-host"),
    "two hosts": ("GET /v1/models HTTP/1.1\nhost: a.example\nhost: b.example\n\n", 400, "bad-host"),
    "a user at a host": ("GET /v1/models HTTP/1.1\nhost: a@b.example\n\n", 400, "bad-host"),
    "no such method": ("BREW /v1/models HTTP/1.1\nhost: x\n\n", 400, "bad-http"),
    "TLS": ("\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\n", 400, "bad-http"),
    "a name with a space": ("GET /v1/models HTTP/1.1\nhost: x\na b: c\n\n", 400, "bad-http"),
    "a value with NUL": ("GET /v1/models HTTP/1.1\nhost: x\na: b\0c\n\n", 400, "bad-http"),
    "two lengths": (
        "POST /v1/x HTTP/1.1\nhost: x\ncontent-length: 3\ntransfer-encoding: chunked\n\n0\n\n",
        400,
        "bad-http",
    ),
    "no number": ("POST /v1/x HTTP/1.1\nhost: x\ncontent-length: abc\n\n", 400, "bad-http"),
    "unknown transfer": ("POST /v1/x HTTP/1.1\nhost: x\ntransfer-encoding: gzip\n\n", 501, "bad-http"),
    "a fragment": ("GET /v1/models#x HTTP/1.1\nhost: x\n\n", 400, "bad-path"),
    "a NUL in the path": ("GET /v1/a%00b HTTP/1.1\nhost: x\n\n", 400, "bad-path"),
    "of the whole server": ("OPTIONS * HTTP/1.1\nhost: x\n\n", 404, "no-route"),
    "nowhere": ("GET /nowhere HTTP/1.1\nhost: x\n\n", 404, "no-route"),
    "many headers": (
        "GET /v1/x HTTP/1.1\nhost: x\n" + "".join(f"x-{n}: 1\n" for n in range(200)) + "\n",
        431,
        "too-many-headers",
    ),
    "a long path": (f"GET /v1/{'a' * 70_000} HTTP/1.1\nhost: x\n\n", 431, "too-many-headers"),
    "another protocol": (
        "GET /v1/x HTTP/1.1\nhost: x\nconnection: upgrade\nupgrade: spdy/3\n\n",
        403,
        "upgrade-refused",
    ),
    "a proxy is wanted": ("CONNECT a:443 HTTP/1.1\nhost: a:443\n\n", 405, "method-not-allowed"),
    "an echo is wanted": ("TRACE /v1/models HTTP/1.1\nhost: x\n\n", 405, "method-not-allowed"),
}


async def test_what_cannot_be_served_is_answered_as_openai_does_with_a_reason(edge: Edge) -> None:
    seen: dict[str, tuple[int, str]] = {}
    for name, (data, _, _) in WRONG.items():
        answer = await edge.http1(data)
        seen[name] = (answer.status, reason(answer, edge.settings))
    assert seen == {name: (status, why) for name, (_, status, why) in WRONG.items()}
    assert not edge.server.headers


HTTP2 = {":method": "GET", ":scheme": "http", ":path": "/v1/x", ":authority": "x"}


async def test_the_same_over_http2(edge: Edge) -> None:
    for changes, expected in (
        ({":method": "TRACE"}, (405, "method-not-allowed")),
        ({":path": "/nowhere"}, (404, "no-route")),
        ({":path": "/v1/a%00b"}, (400, "bad-path")),
    ):
        answer = await edge.http2({**HTTP2, **changes})
        assert (answer.status, reason(answer, edge.settings)) == expected
    answer = await edge.http2({":method": "CONNECT", ":authority": "a:443"})
    assert (answer.status, reason(answer, edge.settings)) == (405, "method-not-allowed")
    assert answer.headers["allow"].startswith("GET, HEAD, POST")


async def test_a_request_that_is_none_ends_no_other_stream_of_its_connection(edge: Edge) -> None:
    """Proxies before the gateway send requests of several clients on one."""
    edge.server.mode, edge.server.gaps_s = "sse", 0.1
    bad = {name: value for name, value in HTTP2.items() if name != ":authority"}
    whole, none = await asyncio.to_thread(http2, edge.settings.port, HTTP2, bad)
    assert whole is not None and whole.body.endswith(b"data: [DONE]\n\n")
    assert none is None


async def test_headers_that_take_too_long_are_not_waited_for(edge: Edge) -> None:
    answer = await edge.http1("GET /v1/models HTTP/1.1\nhost: x\n")
    assert (answer.status, reason(answer, edge.settings)) == (408, "header-timeout")


@pytest.mark.parametrize("host", ["host: x\n", ""], ids=["host", "no host"])
async def test_http_10_is_served(edge: Edge, host: str) -> None:
    """The end of the connection is the end of the answer."""
    answer = await edge.http1(f"POST /v1/completions HTTP/1.0\n{host}content-length: 2\n\n{{}}")
    assert (answer.status, json.loads(answer.body)["port"]) == (200, edge.server.port)
    assert answer.headers[headers.DECISION] == "picked by script"
    assert "transfer-encoding" not in answer.headers
    edge.server.mode = "sse"
    answer = await edge.http1(f"POST /v1/completions HTTP/1.0\n{host}content-length: 2\n\n{{}}")
    assert answer.body.endswith(b"data: [DONE]\n\n")


async def test_escaped_slashes_do_not_get_past_a_route(edge: Edge) -> None:
    """The client is sent to the path that is meant, and that one is routed, or is not."""
    for path, meant in (("/public/..%2Fadmin", "/admin"), ("/public%5c..%5Cadmin", "/admin")):
        answer = await edge.http1(f"GET {path} HTTP/1.1\nhost: x\n\n")
        assert (answer.status, answer.headers["location"]) == (307, meant)
    assert not edge.server.headers
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{edge.settings.port}/v1/models%2Forg%2Fname?a=%2F") as response,
    ):
        assert response.status == 200
        assert response.url.raw_path_qs == "/v1/models/org/name?a=/"


async def test_names_of_the_gateway_reach_no_server_whoever_sends_them(edge: Edge) -> None:
    names = [headers.FLOW, headers.HOST_GROUP, headers.MODEL_NAME, headers.DESTINATION, "x-headgate-any"]
    sent = "".join(f"{name}: 1\n{name.upper()}: 2\n{name.title()}: 3\n" for name in names)
    assert (await edge.http1(f"GET /v1/x HTTP/1.1\nhost: x\n{sent}\n")).status == 200
    assert (await edge.http2({**HTTP2, **dict.fromkeys(names, "1")})).status == 200
    first, second = edge.server.headers
    assert not set(names) & (first.keys() | second.keys())


async def test_names_with_underscores_reach_no_server(edge: Edge) -> None:
    """Servers that take x_api_key for x-api-key would believe what the gateway has removed."""
    forged = headers.DESTINATION.replace("-", "_")
    answer = await edge.http1(f"GET /v1/x HTTP/1.1\nhost: x\n{forged}: 1\nx-kept: 1\n\n")
    assert answer.status == 200
    [seen] = edge.server.headers
    assert forged not in seen and seen["x-kept"] == "1"


async def test_connections_that_say_nothing_are_held(edge: Edge) -> None:
    """Only headers that have begun are waited for; clients keep connections for later."""
    with socket.create_connection(("127.0.0.1", edge.settings.port)) as silent:
        silent.settimeout(HEADERS_TIMEOUT_S + 1)
        with pytest.raises(TimeoutError):
            silent.recv(1)
