"""What routes can do with a request besides choosing a backend, through the real Envoy."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from tests import manifests as manifest
from tests.live.harness.echo import Seen, echoing, service
from tests.live.harness.lab import lab, route

pytestmark = pytest.mark.live


def ref(name: str, weight: int = 1, *filters: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "port": 80, "weight": weight, **({"filters": list(filters)} if filters else {})}


def rule(path: str, *refs: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"matches": [{"path": {"value": path}}], "backendRefs": list(refs), **more}


class Client:
    """Requests to a running gateway."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url

    async def __call__(self, path: str, method: str = "GET", **asked: str) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON or None, headers in small letters. Underscores of *asked* are hyphens."""
        sent = {key.replace("_", "-"): value for key, value in asked.items()}
        async with self.http.request(method, self.url + path, headers=sent) as answer:
            body = await answer.read()
            told = await answer.json(content_type=None) if body else None
            return answer.status, told, {key.lower(): value for key, value in answer.headers.items()}


@contextlib.asynccontextmanager
async def asking(
    folder: Path, rules: list[dict[str, Any]], *more: manifest.Manifest, **ports: int
) -> AsyncIterator[Client]:
    """A gateway with a route of these rules, a Service for each of *ports*, and *more*."""
    services = [each for name, port in ports.items() for each in service(name, port)]
    objects = [manifest.gateway(), route("r", "one", rules=rules), *services, *more]
    async with lab(folder, *objects) as made, aiohttp.ClientSession() as http:
        yield Client(http, made.running.url)


async def test_mirrors_get_their_share_and_clients_notice_nothing(tmp_path: Path) -> None:
    copied, half = Seen(), Seen()
    mirrors = [
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "all", "port": 80}}},
        {
            "type": "RequestMirror",
            "requestMirror": {"backendRef": {"name": "half", "port": 80}, "percent": 50},
        },
        {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "nowhere", "port": 80}}},
    ]
    async with (
        echoing("one") as one,
        echoing("all", seen=copied) as every,
        echoing("half", seen=half) as some,
    ):
        rules = [rule("/", ref("one"), filters=mirrors)]
        async with asking(tmp_path, rules, one=one, all=every, half=some) as ask:
            for _ in range(200):
                status, told, _ = await ask("/a?b=c", host="mirrored.example")
                assert (status, told["name"]) == (200, "one")
            async with asyncio.timeout(5):
                while sum(each["path"] == "/a?b=c" for each in copied) < 200:
                    await asyncio.sleep(0.02)
    of_ours = [
        each for each in copied if each["path"] == "/a?b=c"
    ]  # readiness is asked for through the route
    assert {each["host"] for each in of_ours} == {"mirrored.example"}
    assert len(of_ours) == 200
    assert 60 < len(half) < 140


async def test_pages_of_other_origins(tmp_path: Path) -> None:
    named = {
        "allowOrigins": ["https://app.example", "https://*.wide.example"],
        "allowMethods": ["GET", "PUT"],
        "allowHeaders": ["x-one", "x-two"],
        "exposeHeaders": ["x-told"],
        "allowCredentials": True,
        "maxAge": 600,
    }
    every: dict[str, Any] = {"allowOrigins": ["*"], "allowMethods": ["*"], "allowHeaders": ["*"]}

    def cors(path: str, settings: dict[str, Any], **match: Any) -> dict[str, Any]:
        found = rule(path, ref("one"), filters=[{"type": "CORS", "cors": settings}])
        found["matches"][0].update(match)
        return found

    servers_own = {"access-control-allow-origin": "*"}
    asked = Seen()
    async with echoing("one", seen=asked, answers=servers_own) as port:
        rules = [
            cors("/named", named),
            cors("/all", every),
            cors("/credentials", {**every, "allowCredentials": True}),
            cors("/put", named, method="PUT", headers=[{"name": "x-one", "value": "1"}]),
        ]
        async with asking(tmp_path, rules, one=port) as ask:

            async def preflight(path: str, origin: str, method: str, wanted: str = "") -> dict[str, str]:
                more = {"access_control_request_headers": wanted} if wanted else {}
                status, told, found = await ask(
                    path, "OPTIONS", origin=origin, access_control_request_method=method, **more
                )
                assert (status, told) == (200, None)
                prefix = "access-control-"
                return {
                    key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)
                }

            for origin in ("https://app.example", "https://a.b.wide.example"):
                assert await preflight("/named", origin, "GET", "x-one") == {
                    "allow-origin": origin,
                    "allow-credentials": "true",
                    "allow-methods": "GET, PUT",
                    "allow-headers": "x-one, x-two",
                    "expose-headers": "x-told",
                    "max-age": "600",
                }
            for origin in ("https://wide.example", "http://app.example", "https://app.example:81", "null"):
                assert await preflight("/named", origin, "GET", "x-one") == {}
            for path, more in (("/all", {}), ("/credentials", {"allow-credentials": "true"})):
                found = await preflight(path, "http://any.example:81", "DELETE", "x-any, x-more")
                assert found == {
                    "allow-origin": "http://any.example:81",
                    "allow-methods": "DELETE",
                    "allow-headers": "x-any, x-more",
                    "max-age": "5",
                    **more,
                }
                assert "allow-headers" not in await preflight(path, "http://any.example", "DELETE")
            assert (await preflight("/put", "https://app.example", "PUT", "x-one"))[
                "allow-methods"
            ] == "GET, PUT"
            assert not [each for each in asked if each["method"] == "OPTIONS"]

            for origin, allowed in (
                ("https://app.example", "https://app.example"),
                ("https://no.example", None),
            ):
                status, told, found = await ask("/named", origin=origin)
                assert (status, told["name"]) == (200, "one")
                assert found.get("access-control-allow-origin") == allowed
                assert found["vary"] == "Origin"
            status, told, found = await ask("/put", "PUT", origin="https://app.example", x_one="1")
            assert (status, found["access-control-allow-origin"]) == (200, "https://app.example")


async def test_what_a_rule_says_of_retries(tmp_path: Path) -> None:
    codes = {"codes": [500, 504], "attempts": 2, "backoff": "10ms"}
    async with echoing("one") as port:
        rules = [
            rule("/codes", ref("one"), retry=codes),
            rule("/slow", ref("one"), retry=codes, timeouts={"backendRequest": "200ms"}),
            rule("/none", ref("one")),
        ]
        async with asking(tmp_path, rules, one=port) as ask:
            assert (await ask("/codes?status=500&times=2"))[0] == 200
            assert (await ask("/codes?status=500&times=3"))[0] == 500
            assert (await ask("/codes?status=503&times=1"))[0] == 503
            assert (await ask("/slow?sleep_s=2&times=1"))[0] == 200
            assert (await ask("/slow?sleep_s=2&times=3"))[0] == 504
            assert (await ask("/none?status=500&times=1"))[0] == 500


@pytest.mark.parametrize("kind", ["Cookie", "Header"])
async def test_a_session_stays_with_its_endpoint(tmp_path: Path, kind: str) -> None:
    keeping = {"sessionName": "kept", "type": kind}
    async with echoing("one") as one, echoing("two") as two:
        first, (slice_, *_) = service("many", one)[0], service("many", one)[1:]
        other = {**service("many", two)[1], "metadata": {**slice_["metadata"], "name": "many-2"}}
        objects = [
            manifest.gateway(),
            route("r", "many", rules=[rule("/", ref("many"), sessionPersistence=keeping)]),
            first,
            slice_,
            other,
        ]
        jar = aiohttp.DummyCookieJar()
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession(cookie_jar=jar) as http:
            ask = Client(http, made.running.url)
            assert {(await ask("/"))[1]["name"] for _ in range(10)} == {"one", "two"}
            for _ in range(4):
                _, told, found = await ask("/")
                if kind == "Cookie":
                    shown = {"cookie": found["set-cookie"].partition(";")[0]}
                else:
                    shown = {"kept": found["kept"]}
                assert {(await ask("/", **shown))[1]["name"] for _ in range(6)} == {told["name"]}


async def test_filters_of_single_backends(tmp_path: Path) -> None:
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {
            "hostname": "new.example",
            "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"},
        },
    }
    redirect = {"type": "RequestRedirect", "requestRedirect": {"hostname": "away.example", "statusCode": 307}}
    added = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-who", "value": "two"}]},
    }
    rules_own = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"set": [{"name": "x-who", "value": "all"}]},
    }
    async with echoing("one") as one, echoing("two") as two:
        refs = (ref("one", 1), ref("two", 2, rewrite, added), ref("one", 1, redirect))
        async with asking(tmp_path, [rule("/a", *refs, filters=[rules_own])], one=one, two=two) as ask:
            seen: Counter[Any] = Counter()
            for _ in range(400):
                async with ask.http.get(f"{ask.url}/a/c", allow_redirects=False) as answer:
                    if answer.status == 307:
                        seen[answer.headers["location"].partition(":")[2]] += 1
                        continue
                    told = await answer.json()
                    seen[
                        told["name"], told["path"], told["host"].partition(":")[0], told["headers"]["x-who"]
                    ] += 1
    port = ask.url.rpartition(":")[2]
    assert set(seen) == {
        ("one", "/a/c", "127.0.0.1", "all"),
        ("two", "/b/c", "new.example", "two"),
        f"//away.example:{port}/a/c",
    }
    assert 140 < seen["two", "/b/c", "new.example", "two"] < 260
    assert 55 < seen["one", "/a/c", "127.0.0.1", "all"] < 150


async def test_websockets_reach_services_and_the_endpoint_that_was_picked(tmp_path: Path) -> None:
    async with echoing("one") as one, echoing("two") as two:
        rules = [
            rule("/socket", ref("one")),
            manifest.rule("fit", path="/v1/realtime"),
            rule("/plain", ref("one")),
        ]
        more = [
            *service("one", one, appProtocol="kubernetes.io/ws"),
            manifest.pool("fit"),
            *manifest.model_servers([f"127.0.0.1:{one}", f"127.0.0.1:{two}"], "fit"),
        ]
        async with asking(tmp_path, rules, *more) as ask:

            async def talk(path: str) -> tuple[str, str]:
                """Who answered every message of a connection, and the endpoint that its handshake names."""
                async with ask.http.ws_connect(ask.url + path) as socket:
                    names = set()
                    for number in range(5):
                        await socket.send_str(f"message {number}")
                        name, _, rest = (await socket.receive_str(timeout=5)).partition(" ")
                        assert rest == f"message {number}"
                        names.add(name)
                    (only,) = names
                    return only, socket._response.headers["x-headgate-endpoint"]

            assert await talk("/socket") == ("one", f"127.0.0.1:{one}")
            answered = {await talk("/v1/realtime?model=any") for _ in range(8)}
            assert answered <= {("one", f"127.0.0.1:{one}"), ("two", f"127.0.0.1:{two}")}
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await talk("/nowhere")
            assert refused.value.status == 404


async def test_a_base_model_takes_its_adapters_as_the_config_maps_say_now(tmp_path: Path) -> None:
    labels = {"inference.networking.k8s.io/bbr-managed": "true"}

    def adapters(*names: str) -> manifest.Manifest:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "base", "labels": labels},
            "data": {"baseModel": "base", "adapters": "\n".join(f"- {each}" for each in names)},
        }

    match = {"headers": [{"name": "X-Gateway-Base-Model-Name", "value": "base"}]}
    async with echoing("one") as port:
        objects = [
            manifest.gateway(),
            route("r", "one", rules=[{"matches": [match], "backendRefs": [ref("one")]}]),
            *service("one", port),
        ]
        async with lab(tmp_path, *objects, adapters("first")) as made, aiohttp.ClientSession() as http:

            async def ask(model: str) -> tuple[int, Any]:
                url = f"{made.running.url}/v1/chat/completions"
                async with http.post(url, json={"model": model}) as answer:
                    return answer.status, await answer.json()

            for model in ("base", "first"):
                status, told = await ask(model)
                assert (status, told["name"]) == (200, "one")
                assert not {"x-gateway-base-model-name", "x-gateway-model-name"} & set(told["headers"])
            status, told = await ask("second")
            assert (status, told["error"]["code"]) == (404, "model_not_found")
            assert "base, first" in told["error"]["message"]
            (tmp_path / "m.yaml").write_text(yaml.safe_dump_all([*objects, adapters("second")]))
            async with asyncio.timeout(10):
                while (await ask("second"))[0] != 200:
                    await asyncio.sleep(0.05)
            assert (await ask("first"))[0] == 404


async def test_a_session_moves_on_when_its_endpoint_is_gone(tmp_path: Path) -> None:
    """And stays where it moved to; what a rule says of retries counts beside it."""
    keeping = {"sessionName": "kept", "type": "Cookie"}
    rules = [
        rule("/plain", ref("many"), sessionPersistence=keeping),
        rule("/retried", ref("many"), sessionPersistence=keeping, retry={"codes": [500], "attempts": 1}),
    ]
    async with echoing("two") as two, echoing("three") as three, contextlib.AsyncExitStack() as first:
        one = await first.enter_async_context(echoing("one"))
        ports = {"one": one, "two": two, "three": three}
        slices = [
            {**each, "metadata": {**each["metadata"], "name": f"many-{name}"}}
            for name, port in ports.items()
            for each in service("many", port)[1:]
        ]
        objects = [manifest.gateway(), route("r", "many", rules=rules), service("many", one)[0], *slices]
        jar = aiohttp.DummyCookieJar()
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession(cookie_jar=jar) as http:
            ask = Client(http, made.running.url)
            kept = {}
            while "one" not in kept:
                _, told, found = await ask("/plain")
                kept[told["name"]] = found["set-cookie"].partition(";")[0]
            # The endpoint answers 500 once: another one answers, and the session stays with that.
            _, told, found = await ask("/retried?status=500&times=1", cookie=kept["one"])
            assert told["name"] == "one" or "set-cookie" in found
            await first.aclose()
            status, told, found = await ask("/plain", cookie=kept["one"])
            assert status == 200 and told["name"] != "one"
            moved = found["set-cookie"].partition(";")[0]
            assert {(await ask("/plain", cookie=moved))[1]["name"] for _ in range(6)} == {told["name"]}
