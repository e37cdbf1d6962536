"""Kinds of traffic through the real Envoy that the tables of routing cases do not have."""

import asyncio
import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc.aio
import pytest
from tests import manifests as manifest
from tests.forms import content_type, field, file, multipart
from tests.live.harness.certificates import Authority
from tests.live.harness.echo import echoing, grpc_echoing, service
from tests.live.harness.http_cases import hosts, prefix, redirected, to
from tests.live.harness.lab import Lab, gate, https, lab, route, secret
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import free_port
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.manifests import Manifest

pytestmark = pytest.mark.live

HTTP: dict[str, Any] = {"name": "http", "port": 80, "protocol": "HTTP"}
CHAT = "/v1/chat/completions"


async def served(http: aiohttp.ClientSession, url: str, **sent: Any) -> tuple[int, Any]:
    """Status and JSON, once a server answers."""
    last: tuple[int, Any] = 0, None
    try:
        async with asyncio.timeout(20):
            while True:
                async with http.post(url, **sent) as answer:
                    last = answer.status, json.loads(await answer.text())
                if last[0] == 200:
                    return last
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"{url}: {last}") from None


async def test_http2_without_tls_to_a_service_by_an_http_route(tmp_path: Path) -> None:
    async with grpc_echoing("one") as one, grpc_echoing("two") as two:
        objects = [
            gate(HTTP),
            route("calls", "one", rules=[to("one", prefix("/lab.Echo")), to("two", prefix("/lab.Plain"))]),
            *service("one", one, appProtocol="kubernetes.io/h2c"),
            *service("two", two),
        ]
        async with (
            lab(tmp_path, *objects) as made,
            grpc.aio.insecure_channel(made.running.url.removeprefix("http://")) as channel,
        ):
            unary: Any = channel.unary_unary
            assert await unary("/lab.Echo/Any")(b"hello", timeout=5) == b"one hello"
            with pytest.raises(grpc.aio.AioRpcError):  # the same server, called by HTTP/1.1
                await unary("/lab.Plain/Any")(b"hello", timeout=5)


async def test_named_rules_of_a_grpc_route_are_served_and_named(tmp_path: Path) -> None:
    async with grpc_echoing("one") as one, grpc_echoing("two") as two:
        rules = [
            {
                "name": name,
                "matches": [{"method": {"service": f"lab.{name.title()}"}}],
                "backendRefs": [{"name": backend, "port": 80}],
            }
            for name, backend in (("first", "one"), ("second", "two"))
        ]
        objects = [
            gate(HTTP),
            route("calls", "one", kind="GRPCRoute", rules=rules),
            *service("one", one),
            *service("two", two),
        ]
        async with (
            lab(tmp_path, *objects) as made,
            grpc.aio.insecure_channel(made.running.url.removeprefix("http://")) as channel,
        ):
            unary: Any = channel.unary_unary
            assert await unary("/lab.First/Any")(b"a", timeout=5) == b"one a"
            assert await unary("/lab.Second/Any")(b"a", timeout=5) == b"two a"


async def test_a_gateway_on_a_port_of_its_own_and_routes_for_that_port(tmp_path: Path) -> None:
    own = free_port()
    async with echoing("one") as one, echoing("two") as two:
        objects = [
            gate(HTTP, {"name": "own", "port": own, "protocol": "HTTP"}),
            route("here", "one", parentRefs=[{"name": "gate", "port": own}]),
            route("there", "two", parentRefs=[{"name": "gate", "port": 80}]),
            *service("one", one),
            *service("two", two),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            told = [await served(http, url) for url in (f"http://127.0.0.1:{own}/", made.running.url + "/")]
            assert [each["name"] for _, each in told] == ["one", "two"]
            async with http.get(f"http://127.0.0.1:{own}/", headers={"host": f"any.example:{own}"}) as answer:
                assert (await answer.json())["host"] == f"any.example:{own}"


async def test_redirects_of_a_tls_listener_name_the_port(tmp_path: Path) -> None:
    ca = Authority()
    rules = [
        redirected("/nothing", hostname="to.example"),
        redirected("/port-443", hostname="to.example", port=443),
        redirected("/port-8443", hostname="to.example", port=8443),
        redirected("/http", hostname="to.example", scheme="http"),
        redirected("/http-80", hostname="to.example", scheme="http", port=80),
        redirected("/http-8080", hostname="to.example", scheme="http", port=8080),
        redirected("/https", hostname="to.example", scheme="https"),
        redirected("/https-443", hostname="to.example", scheme="https", port=443),
        redirected("/https-8443", hostname="to.example", scheme="https", port=8443),
    ]
    objects = [gate(HTTP, https("a", "a")), secret("a", ca.sign("a.example")), hosts("a.example", *rules)]
    async with lab(tmp_path, *objects) as made:
        plain, secure = made.running.url.rpartition(":")[2], made.port
        expected = {
            "nothing": f"https://to.example:{secure}",
            "port-443": "https://to.example",
            "port-8443": "https://to.example:8443",
            "http": f"http://to.example:{plain}",
            "http-80": "http://to.example",
            "http-8080": "http://to.example:8080",
            "https": f"https://to.example:{secure}",
            "https-443": "https://to.example",
            "https-8443": "https://to.example:8443",
        }
        found = {path: await _location(made, ca, path) for path in expected}
        assert found == {path: f"{place}/{path}" for path, place in expected.items()}


async def _location(made: Lab, ca: Authority, path: str) -> str | None:
    import ssl

    async with (
        aiohttp.ClientSession() as http,
        http.get(
            f"https://127.0.0.1:{made.port}/{path}",
            ssl=ssl.create_default_context(cadata=ca.pem.decode()),
            server_hostname="a.example",
            headers={"host": f"a.example:{made.port}"},
            allow_redirects=False,
        ) as answer,
    ):
        return answer.headers.get("location")


def with_fallback(name: str, to_: str) -> Manifest:
    found = manifest.pool(name)
    found["metadata"]["annotations"] = {"headgate.dev/fallback": to_}
    return found


async def test_websockets_stay_with_the_pool_and_are_refused_without_it(tmp_path: Path) -> None:
    async with echoing("first") as first, echoing("plain") as plain:
        objects = [
            manifest.gateway(),
            manifest.route(*(manifest.rule(each, path=f"/{each}") for each in ("there", "empty"))),
            *(with_fallback(each, "Service/plain:80") for each in ("there", "empty")),
            manifest.model_server("there-1", f"127.0.0.1:{first}", "there"),
            *service("plain", plain),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            await served(http, f"{made.running.url}/there", json={"model": "m"})
            async with http.ws_connect(f"{made.running.url}/there/v1/realtime") as socket:
                await socket.send_str("hello")
                assert await socket.receive_str(timeout=5) == "first hello"
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await http.ws_connect(f"{made.running.url}/empty/v1/realtime")
            assert refused.value.headers is not None
            told = (refused.value.status, refused.value.headers["x-headgate-reason"])
            assert told == (503, "no-endpoints")
            _, other = await served(http, f"{made.running.url}/empty", json={"model": "m"})
            assert other["name"] == "plain"  # requests go on to the fallback


@pytest.mark.parametrize("mode", ["full-duplex", "streamed"])
async def test_websockets_by_pickers_of_others(tmp_path: Path, mode: str) -> None:
    """Those that pick by the headers, and those that wait for a body; with a fallback and without."""
    picker = ScriptedPicker()
    names = ("open", "closed", "backed")
    async with echoing("one") as one, echoing("two") as two, echoing("plain") as plain, picker.running():
        pools = [
            manifest.pool("open", "FailOpen"),
            manifest.pool("closed", "FailClose"),
            with_fallback("backed", "Service/plain:80"),
        ]
        for each in pools:
            each["metadata"].setdefault("annotations", {})["headgate.dev/picker-body-mode"] = mode
        objects = [
            manifest.gateway(),
            manifest.route(*(manifest.rule(each, path=f"/{each}") for each in names)),
            *pools,
            *service("plain", plain),
        ]
        for name in names:
            objects += manifest.foreign_picker(name, picker.port, **{"headgate.dev/picker-tls": "false"})
            objects += manifest.model_servers([f"127.0.0.1:{one}", f"127.0.0.1:{two}"], name)
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:

            async def talk(pool: str) -> tuple[set[str], Mapping[str, str]]:
                async with http.ws_connect(f"{made.running.url}/{pool}/v1/realtime?model=m") as socket:
                    answered = set()
                    for number in range(5):
                        await socket.send_str(f"message {number}")
                        answered.add((await socket.receive_str(timeout=5)).partition(" ")[0])
                    return answered, socket._response.headers

            picker.mode = "headers"
            for picked, answering in ((one, {"one"}), (two, {"two"})):
                picker.endpoints = [f"127.0.0.1:{picked}"]
                for name in names:
                    answered, told = await talk(name)
                    assert answered == answering
                    assert told["x-headgate-endpoint"] == f"127.0.0.1:{picked}"
                    assert told["x-headgate-decision"] == f"picked by default/{name}-epp:9002"
            picker.mode = "duplex"
            answered, told = await talk("open")
            assert len(answered) == 1 and told["x-headgate-decision"] == "fallback"
            for name in ("closed", "backed"):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await talk(name)
                assert refused.value.headers is not None
                assert refused.value.headers["x-headgate-reason"] == "picker-failed"
                assert refused.value.status == 503


@pytest.mark.parametrize("by", ["path", "model"])
async def test_audio_in_a_form_reaches_a_server_of_the_pool_whole(tmp_path: Path, by: str) -> None:
    sound = bytes(range(256)) * 2000
    form = multipart(field("model", "whisper"), file(content=sound), field("language", "de"))
    match = {"headers": [{"name": "X-Gateway-Model-Name", "value": "whisper"}]}
    rules = [manifest.rule("ears", matches=[match]) if by == "model" else manifest.rule("ears")]
    if by == "model":
        other = {"headers": [{"name": "X-Gateway-Model-Name", "value": "other"}]}
        rules.append(manifest.rule("other", matches=[other]))
    async with ScriptedModelServer().running() as server:
        server.models = ["whisper"]
        objects = [
            manifest.gateway(),
            manifest.route(*rules),
            manifest.pool("ears"),
            manifest.pool("other"),
            manifest.model_server("one", server.address, "ears"),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            url = made.running.url + "/v1/audio/transcriptions"
            await served(http, url, data=form, headers={"content-type": content_type()})
            assert set(server.bodies) == {form}
            assert server.headers[-1]["content-type"] == content_type()


async def test_lists_of_models_are_the_union_of_the_pools_behind_a_host(tmp_path: Path) -> None:
    async with (
        ScriptedModelServer().running() as one,
        ScriptedModelServer().running() as two,
        ScriptedModelServer().running() as elsewhere,
    ):
        one.models, two.models, elsewhere.models = ["small", "both"], ["large", "both"], ["hidden"]
        matches = {
            name: [{"headers": [{"name": "X-Gateway-Model-Name", "value": name}]}]
            for name in ("small", "large")
        }
        both = manifest.route(
            manifest.rule("first", matches=matches["small"]),
            manifest.rule("second", matches=matches["large"]),
        )
        apart = manifest.route(manifest.rule("third"), name="apart")
        both["spec"]["hostnames"], apart["spec"]["hostnames"] = ["both.example"], ["apart.example"]
        objects = [
            manifest.gateway(),
            both,
            apart,
            *(manifest.pool(each) for each in ("first", "second", "third")),
            manifest.model_server("one", one.address, "first"),
            manifest.model_server("two", two.address, "second"),
            manifest.model_server("three", elsewhere.address, "third"),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:

            async def listed(host: str) -> list[str]:
                async with http.get(f"{made.running.url}/v1/models", headers={"host": host}) as answer:
                    found = await answer.json()
                    return sorted(each["id"] for each in found.get("data", ()))

            async with asyncio.timeout(20):
                while await listed("both.example") != ["both", "large", "small"]:
                    await asyncio.sleep(0.1)
                while await listed("apart.example") != ["hidden"]:
                    await asyncio.sleep(0.1)


async def test_a_packed_body_reaches_a_server_that_unpacks_it(tmp_path: Path) -> None:
    said = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 100_000}]}).encode()
    packed = gzip.compress(said)
    async with ScriptedModelServer().running() as server:
        objects = [
            manifest.gateway(),
            manifest.route(manifest.rule("pool")),
            manifest.pool("pool"),
            manifest.model_server("one", server.address, "pool"),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            await served(
                http, made.running.url + CHAT, data=said, headers={"content-type": "application/json"}
            )
            server.bodies.clear()
            sent = {"content-type": "application/json", "content-encoding": "gzip"}
            async with http.post(made.running.url + CHAT, data=packed, headers=sent) as answer:
                assert answer.status == 200, await answer.text()
                assert "x-headgate-endpoint" in answer.headers
            assert server.bodies == [said]
            assert server.headers[-1]["content-encoding"] == "gzip"
