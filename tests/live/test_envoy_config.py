"""The translated configuration on a real Envoy, with a scripted picker and scripted model servers."""

import asyncio
import contextlib
import io
import json
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from tests import manifests as manifest
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import free_port
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.live.harness.translated import translated_envoy
from tests.manifests import Manifest

from headgate.gateway.envoy.replies import RETRY_AFTER_S
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

pytestmark = pytest.mark.live

LIMIT = 2 << 20
TIMEOUT_S = 0.5


class Lab:
    """One running gateway with two live model servers, one dead address and a picker."""

    def __init__(self) -> None:
        self.one, self.two, self.picker = ScriptedModelServer(), ScriptedModelServer(), ScriptedPicker()
        for server in (self.one, self.two):
            server.added_headers = {
                headers.DECISION: "forged-by-server",
                headers.ENDPOINT: "forged-by-server",
                headers.SERVED: "forged-by-server",
                "X-Gateway-Destination-Endpoint": "forged-by-server",
                "X-Headgate-Whatever": "forged-by-server",
            }
        self.dead = f"127.0.0.1:{free_port()}"
        self.settings = GatewaySettings(
            port=free_port(),
            address="127.0.0.1",
            picker_address=self.picker.address,
            picker_timeout_s=TIMEOUT_S,
            body_limit_bytes=LIMIT,
        )
        self.url = ""
        self.session: aiohttp.ClientSession

    async def ask(
        self, path: str, body: bytes = b"{}", sent: Mapping[str, str] | None = None
    ) -> tuple[Any, bytes]:
        """Status and headers of one POST (a GET when *body* is empty), and the answer's body."""
        named = {"content-type": "application/json", **(sent or {})}
        data = io.BytesIO(body) if body else None
        method = "POST" if body else "GET"
        async with self.session.request(method, self.url + path, data=data, headers=named) as response:
            return response, await response.read()


def objects(lab: Lab) -> list[Manifest]:
    """Pools `open` and `close` over all three addresses, `empty` over none, and a rule for each."""
    rules = [manifest.rule(name, path=f"/{name}") for name in ("open", "close", "empty", "missing")]
    return [
        manifest.gateway(),
        manifest.route(*rules, manifest.rule("open", "close", path="/both"), _to_server("alone")),
        manifest.model_server("alone", lab.one.address, "alone"),
        manifest.pool("open", "FailOpen", app="llm"),
        manifest.pool("close", app="llm"),
        manifest.pool("empty", "FailOpen"),
        *manifest.model_servers([lab.one.address, lab.two.address, lab.dead], app="llm"),
    ]


def _to_server(name: str) -> Manifest:
    server = {"group": "headgate.dev", "kind": "ModelServer", "name": name}
    return {"matches": manifest.rule(path=f"/{name}")["matches"], "backendRefs": [server]}


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    """Everything but the picker runs; tests start it themselves with `lab.picker.running()`."""
    made = Lab()
    async with (
        made.one.running(),
        made.two.running(),
        translated_envoy(manifest.snapshot(*objects(made)), made.settings, tmp_path) as url,
        aiohttp.ClientSession() as session,
    ):
        made.url, made.session = url, session
        yield made


def reason(response: Any, body: bytes) -> str:
    """The reason of an error; its body must be OpenAI-style JSON that agrees with the header."""
    error = json.loads(body)["error"]
    assert response.headers["content-type"] == "application/json"
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == response.headers[headers.REASON]
    if response.status == 503:
        assert int(response.headers["retry-after"]) == RETRY_AFTER_S
    return str(error["code"])


async def test_a_pick_is_followed_and_told(lab: Lab) -> None:
    async with lab.picker.running():
        lab.picker.endpoints = [lab.two.address]
        response, body = await lab.ask("/open/v1/chat/completions", sent={"x-request-id": "my-id"})
    assert (response.status, json.loads(body)["port"]) == (200, lab.two.port)
    assert response.headers["x-request-id"] == "my-id"
    assert response.headers.getall(headers.ENDPOINT) == [lab.two.address]
    assert response.headers.getall(headers.DECISION) == ["picked by script"]
    assert "forged-by-server" not in response.headers.values()
    assert lab.picker.pools == ["pool/default/open"]
    assert lab.picker.initial[0][headers.LEAN] == "1"
    kinds = [kind for kind, _ in lab.picker.messages]
    assert kinds == ["request_headers", "request_body", "response_body"]
    metadata = lab.picker.messages[2][1].metadata_context.filter_metadata[headers.LB_NAMESPACE]
    assert metadata[headers.SERVED] == lab.two.address


async def test_a_client_cannot_steer_and_servers_do_not_see_how_it_was_steered(lab: Lab) -> None:
    sent = dict.fromkeys((headers.DESTINATION, headers.SUBSET, headers.POOL), lab.one.address)
    async with lab.picker.running():
        lab.picker.endpoints = [lab.two.address]
        await lab.ask("/open", sent={**sent, "x-llm-d-inference-objective": "gold"})
        seen_by_picker = {each.key for each in lab.picker.messages[0][1].request_headers.headers.headers}
    assert len(lab.two.headers) == 1 and not lab.one.headers
    assert not set(headers.NEVER_FROM_CLIENTS) & seen_by_picker
    assert "x-llm-d-inference-objective" in seen_by_picker
    assert not set(headers.NEVER_TO_SERVERS) & set(lab.two.headers[0])


async def test_without_a_picker_fail_open_serves_and_fail_close_refuses(lab: Lab) -> None:
    response, _ = await lab.ask("/open", sent={headers.DESTINATION: lab.dead})
    assert (response.status, response.headers[headers.DECISION]) == (200, "fallback")
    response, body = await lab.ask("/close")
    assert (response.status, reason(response, body)) == (503, "picker-failed")
    assert response.headers[headers.DECISION] == "none"


async def test_a_hanging_picker_is_bounded(lab: Lab) -> None:
    async with lab.picker.running():
        lab.picker.mode = "hang"
        started = time.monotonic()
        response, _ = await lab.ask("/open")
        assert (response.status, response.headers[headers.DECISION]) == (200, "fallback")
        response, body = await lab.ask("/close")
        assert (response.status, reason(response, body)) == (503, "picker-failed")
        assert 2 * TIMEOUT_S * 0.9 < time.monotonic() - started < 2 * TIMEOUT_S + 2


async def test_a_picker_may_ask_for_more_time(lab: Lab) -> None:
    async with lab.picker.running():
        lab.picker.mode, lab.picker.endpoints = "wait", [lab.one.address]
        response, _ = await lab.ask("/close")
    assert response.status == 200


async def test_envoys_own_errors_are_json_and_the_pickers_are_left_alone(lab: Lab) -> None:
    response, body = await lab.ask("/nowhere", b"")
    assert (response.status, reason(response, body)) == (404, "no-route")
    response, body = await lab.ask("/missing")
    assert (response.status, reason(response, body)) == (500, "no-backend")
    async with lab.picker.running():
        response, body = await lab.ask("/open", b"x" * (LIMIT + 1))
        assert (response.status, reason(response, body)) == (413, "too-large")
        assert "2 MiB" in json.loads(body)["error"]["message"]
        lab.picker.endpoints = [lab.one.address]
        response, body = await lab.ask("/empty")
        assert (response.status, reason(response, body)) == (503, "no-endpoints")
        lab.picker.mode = "refuse"
        response, body = await lab.ask("/open")
    assert (response.status, body) == (429, b'{"error":{"message":"from the picker"}}')
    assert response.headers[headers.REASON] == "saturated"


async def test_load_balancers_ask_for_the_health_under_any_host_and_no_route_sees_it(lab: Lab) -> None:
    for path in (headers.HEALTH_PATH, headers.HEALTH_PATH + "?a=b", "//headgate/./%68ealthz"):
        response, _ = await lab.ask(path, b"", {"host": "10.1.2.3:80"})
        assert response.status == 200
    assert not lab.one.headers + lab.two.headers


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [("set", "content-length", "2"), ("add", "Transfer-Encoding", "identity")],
)
async def test_a_route_cannot_make_a_server_take_a_body_for_a_request(
    tmp_path: Path, where: str, name: str, value: str
) -> None:
    server, picker = ScriptedModelServer(), ScriptedPicker()
    picker.endpoints = [server.address]
    modifier = {where: [{"name": name, "value": value}]}
    changed = [{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}]
    found = manifest.snapshot(
        manifest.gateway(),
        manifest.route(manifest.rule("pool", path="/bad", filters=changed), manifest.rule("pool")),
        manifest.pool("pool"),
        manifest.model_server("one", server.address, "pool"),
    )
    port = free_port()
    settings = GatewaySettings(port=port, address="127.0.0.1", picker_address=picker.address)
    async with (
        server.running(),
        picker.running(),
        translated_envoy(found, settings, tmp_path) as url,
        aiohttp.ClientSession() as session,
    ):
        smuggled = b"{}GET /stolen HTTP/1.1\r\nhost: x\r\n\r\n"
        for _ in range(3):
            async with session.post(url + "/bad/v1/completions", data=smuggled) as response:
                assert response.status == 500
                assert response.headers[headers.REASON] == "invalid-route"
            async with session.post(url + "/v1/completions", data=b"{}") as response:
                assert response.status == 200
    assert server.bodies == [b"{}"] * 3


@pytest.mark.parametrize("trouble", ["503", "reset"])
async def test_trouble_before_the_first_byte_goes_down_the_list(lab: Lab, trouble: str) -> None:
    lab.one.mode = trouble
    async with lab.picker.running():
        lab.picker.endpoints = [lab.dead, lab.one.address, lab.two.address]
        response, body = await lab.ask("/close", b"x" * (LIMIT - 1))
    assert (response.status, json.loads(body)["port"]) == (200, lab.two.port)
    assert response.headers[headers.ENDPOINT] == lab.two.address
    assert [len(body) for body in lab.one.bodies + lab.two.bodies] == [LIMIT - 1, LIMIT - 1]


async def test_an_answer_that_breaks_off_before_the_client_saw_any_is_the_servers_fault(lab: Lab) -> None:
    lab.one.mode = "cut"
    async with lab.picker.running():
        lab.picker.endpoints = [lab.one.address]
        response, body = await lab.ask("/close", b"{}")
    assert (response.status, response.headers[headers.REASON]) == (502, "bad-response")
    assert "broke off" in json.loads(body)["error"]["message"]


@pytest.fixture
async def four(tmp_path: Path) -> AsyncIterator[tuple[Lab, list[ScriptedModelServer]]]:
    """Four live model servers and two dead addresses in pool `close`; rule `/soon` gives up on silence early."""
    made = Lab()
    servers = [made.one, made.two, ScriptedModelServer(), ScriptedModelServer()]
    addresses = [*(each.address for each in servers), made.dead, f"127.0.0.1:{free_port()}"]
    found = manifest.snapshot(
        manifest.gateway(),
        manifest.route(
            manifest.rule("close", path="/close"),
            manifest.rule("close", path="/soon", timeouts={"backendRequest": "1500ms"}),
        ),
        manifest.pool("close", app="llm"),
        *manifest.model_servers(addresses, app="llm"),
    )
    async with contextlib.AsyncExitStack() as stack:
        for server in servers:
            await stack.enter_async_context(server.running())
        await stack.enter_async_context(made.picker.running())
        made.url = await stack.enter_async_context(translated_envoy(found, made.settings, tmp_path))
        made.session = await stack.enter_async_context(aiohttp.ClientSession())
        made.picker.endpoints = addresses
        yield made, servers


@pytest.mark.parametrize(("path", "trouble"), [("/close", "reset"), ("/soon", "hang")])
async def test_what_ends_or_silences_its_server_meets_one_other_at_most(
    four: tuple[Lab, list[ScriptedModelServer]], path: str, trouble: str
) -> None:
    lab, servers = four
    for server in servers:
        server.mode = trouble
    lab.picker.endpoints.insert(1, lab.dead)  # a refused connection in between changes nothing
    response, body = await lab.ask(path, b'{"poison": true}', {"x-envoy-max-retries": "9"})
    assert (response.status, reason(response, body)) == (502, "gave-up")
    assert [len(each.bodies) for each in servers] == [1, 1, 0, 0]
    assert response.headers[headers.ENDPOINT] == servers[1].address
    assert response.headers["x-should-retry"] == "false"
    entry = await asyncio.wait_for(lab.picker.log.get(), 5)
    served = entry.common_properties.metadata.filter_metadata[headers.LB_NAMESPACE][headers.SERVED]
    assert served == servers[1].address, "the third is not to blame"


async def test_a_silent_server_loses_its_request_to_the_next_and_running_streams_stay(
    four: tuple[Lab, list[ScriptedModelServer]],
) -> None:
    lab, servers = four
    servers[0].mode, servers[1].mode, servers[1].gaps_s = "hang", "sse", 0.3
    response, body = await lab.ask("/soon")
    assert response.status == 200
    assert body.endswith(b"data: [DONE]\n\n")  # it took longer than a server may be silent at first
    assert [len(each.bodies) for each in servers] == [1, 1, 0, 0]


async def test_refused_connections_and_busy_servers_go_down_the_list(
    four: tuple[Lab, list[ScriptedModelServer]],
) -> None:
    lab, servers = four
    lab.picker.endpoints = [lab.dead, lab.picker.endpoints[-1], servers[0].address, servers[1].address]
    servers[0].mode = "reset"
    response, _ = await lab.ask("/close")
    assert (response.status, response.headers[headers.ENDPOINT]) == (200, servers[1].address)
    lab.picker.endpoints = [each.address for each in servers]
    for server in servers[:3]:
        server.mode = "503"
    response, _ = await lab.ask("/close")
    assert (response.status, response.headers[headers.ENDPOINT]) == (200, servers[3].address)
    assert headers.REASON not in response.headers


async def test_an_address_outside_the_pool_is_refused_when_closed_and_replaced_when_open(lab: Lab) -> None:
    async with lab.picker.running():
        lab.picker.endpoints = ["127.0.0.2:1"]
        response, body = await lab.ask("/close")
        assert (response.status, reason(response, body)) == (503, "no-endpoints")
        response, _ = await lab.ask("/open")
        assert response.status == 200


@pytest.mark.parametrize("mode", ["json", "sse", "big"])
async def test_the_access_log_tells_the_end_with_usage(lab: Lab, mode: str) -> None:
    lab.one.mode = mode
    async with lab.picker.running():
        lab.picker.endpoints = [lab.one.address]
        response, body = await lab.ask("/open")
        entry = await asyncio.wait_for(lab.picker.log.get(), 5)
        await lab.ask("/nowhere", b"")
        await asyncio.sleep(0.3)
        assert lab.picker.log.empty()
    assert response.status == 200
    if mode == "sse":
        assert body.count(b"data: ") == 10 and body.endswith(b"data: [DONE]\n\n")
    metadata = entry.common_properties.metadata.filter_metadata
    assert dict(metadata[headers.USAGE_NAMESPACE]) == {"prompt": 7, "completion": 8, "cached": 4}
    assert metadata[headers.OWN_NAMESPACE]["stream"] == "s1"
    assert entry.common_properties.upstream_remote_address.socket_address.port_value == lab.one.port


async def test_weighted_pools_each_ask_for_themselves(lab: Lab) -> None:
    async with lab.picker.running():
        lab.picker.endpoints = [lab.one.address]
        for _ in range(40):
            response, _ = await lab.ask("/both")
            assert response.status == 200
        assert set(lab.picker.pools) == {"pool/default/open", "pool/default/close"}
        assert len(lab.picker.initial) == 40, "each request is asked about once"


async def test_our_picker_is_not_asked_about_requests_that_lead_to_no_pool(lab: Lab) -> None:
    async with lab.picker.running():
        found = [(await lab.ask(path))[0].status for path in ("/alone", "/nowhere", "/missing")]
        assert found == [200, 404, 500]
        assert lab.picker.initial == []


async def test_our_picker_is_not_asked_about_pools_of_others(tmp_path: Path) -> None:
    made, own = Lab(), ScriptedPicker()
    picker = manifest.foreign_picker("open", made.picker.port, **{"headgate.dev/picker-tls": "false"})
    settings = msgspec.structs.replace(made.settings, picker_address=own.address)
    made.picker.mode, made.picker.endpoints = "duplex", [made.two.address]
    own.endpoints = [made.one.address]
    async with (
        made.one.running(),
        made.two.running(),
        made.picker.running(),
        own.running(),
        translated_envoy(manifest.snapshot(*objects(made), *picker), settings, tmp_path) as url,
        aiohttp.ClientSession() as session,
    ):
        made.url, made.session = url, session
        for _ in range(20):
            response, _ = await made.ask("/both")
            assert response.status == 200
        assert set(own.pools) == {"pool/default/close"}
        assert len(own.initial) + len(made.picker.initial) == 20


@pytest.fixture
async def foreign(tmp_path: Path) -> AsyncIterator[Lab]:
    """The same, but the pools' picker Service has a ready address: another vendor's picker."""
    made = Lab()
    pickers = [
        each
        for pool in ("open", "close")
        for each in manifest.foreign_picker(pool, made.picker.port, **{"headgate.dev/picker-tls": "false"})
    ]
    settings = msgspec.structs.replace(made.settings, picker_address=made.dead)
    made.picker.mode, made.picker.endpoints = "duplex", [made.dead, made.two.address]
    async with (
        made.one.running(),
        made.two.running(),
        made.picker.running(),
        translated_envoy(manifest.snapshot(*objects(made), *pickers), settings, tmp_path) as url,
        aiohttp.ClientSession() as session,
    ):
        made.url, made.session = url, session
        yield made


@pytest.mark.parametrize("mode", ["json", "sse", "big"])
async def test_a_foreign_picker_is_asked_in_full_duplex(foreign: Lab, mode: str) -> None:
    foreign.two.mode = mode
    response, body = await foreign.ask("/close", b"x" * (300 << 10))
    assert response.status == 200
    assert [len(body) for body in foreign.two.bodies] == [300 << 10]
    assert response.headers[headers.ENDPOINT] == foreign.two.address
    assert response.headers[headers.DECISION] == "picked by default/close-epp:9002"
    assert headers.LEAN not in foreign.picker.initial[0]
    if mode == "sse":
        assert body.endswith(b"data: [DONE]\n\n")
    served = [
        message.metadata_context.filter_metadata[headers.LB_NAMESPACE][headers.SERVED]
        for kind, message in foreign.picker.messages
        if kind == "response_headers"
    ]
    assert served == [foreign.two.address]


async def test_what_a_foreign_picker_answers_itself_is_its_own(foreign: Lab) -> None:
    foreign.picker.mode = "refuse"
    response, body = await foreign.ask("/open", b"x" * 1000)
    assert (response.status, body) == (429, b'{"error":{"message":"from the picker"}}')
    assert response.headers.getall(headers.DECISION) == ["answered by the picker"]
    assert not foreign.one.bodies + foreign.two.bodies


async def test_a_dead_foreign_picker_opens_or_closes(foreign: Lab) -> None:
    await foreign.picker.stop()
    await asyncio.sleep(4)  # two failed health checks
    response, _ = await foreign.ask("/open", b"x" * 1000)
    assert (response.status, response.headers[headers.DECISION]) == (200, "fallback")
    response, body = await foreign.ask("/close", b"x" * 1000)
    assert (response.status, reason(response, body)) == (503, "picker-failed")


@pytest.fixture
async def apart(tmp_path: Path) -> AsyncIterator[tuple[Lab, asyncio.subprocess.Process]]:
    """Another vendor's picker in a process of its own, which tests stop and kill."""
    made = Lab()
    pickers = [
        each
        for pool in ("open", "close")
        for each in manifest.foreign_picker(pool, made.picker.port, **{"headgate.dev/picker-tls": "false"})
    ]
    settings = msgspec.structs.replace(made.settings, picker_address=made.dead)
    module = "tests.live.harness.scripted_picker"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(made.picker.port), made.two.address),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"picking\n"
    try:
        async with (
            made.one.running(),
            made.two.running(),
            translated_envoy(manifest.snapshot(*objects(made), *pickers), settings, tmp_path) as url,
            aiohttp.ClientSession() as session,
        ):
            made.url, made.session = url, session
            yield made, process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def asked_for_a_while(lab: Lab, path: str, count: int) -> list[int]:
    """Statuses of requests, one every 100 ms; each must be answered."""

    async def ask() -> int:
        async with asyncio.timeout(8):
            response, body = await lab.ask(path, b"x" * 1000)
        if response.status != 200:
            assert reason(response, body) == "picker-failed"
        return int(response.status)

    asking = []
    for _ in range(count):
        asking.append(asyncio.create_task(ask()))
        await asyncio.sleep(0.1)
    return await asyncio.gather(*asking)


@pytest.mark.parametrize("ends", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("path", ["/open", "/close"])
async def test_a_foreign_picker_that_hangs_or_dies_holds_no_request(
    apart: tuple[Lab, asyncio.subprocess.Process], ends: signal.Signals, path: str
) -> None:
    lab, process = apart
    assert await asked_for_a_while(lab, path, 3) == [200] * 3
    process.send_signal(ends)
    found = await asked_for_a_while(lab, path, 60)
    if path == "/close":
        assert set(found[-20:]) == {503}
        return
    # Those that a hung picker has already got bodies of are lost; a dead one loses next to none.
    assert found.count(200) >= (30 if ends is signal.SIGSTOP else 55), found
    if ends is signal.SIGSTOP:
        process.send_signal(signal.SIGCONT)
        await asyncio.sleep(3)
        response, _ = await lab.ask(path, b"x" * 1000)
        assert response.headers[headers.DECISION] == "picked by default/open-epp:9002"


@pytest.mark.parametrize("ends", [signal.SIGSTOP, signal.SIGKILL], ids=["hangs", "dies"])
@pytest.mark.parametrize("path", ["/open", "/close"])
async def test_a_foreign_picker_that_ends_in_the_middle_of_a_request(
    apart: tuple[Lab, asyncio.subprocess.Process], ends: signal.Signals, path: str
) -> None:
    """A body that it has half of, and an answer that it is looking at: both end soon, and by name."""
    lab, process = apart
    lab.two.mode, lab.two.events, lab.two.gaps_s = "sse", 200, 0.05
    begun = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        begun.set()
        await gone.wait()
        yield b"x" * 1000

    async def in_its_body() -> tuple[int, str]:
        async with lab.session.post(lab.url + path, data=half()) as response:
            return response.status, reason(response, await response.read())

    async def in_its_answer() -> bool:
        """Whether all of it came."""
        async with lab.session.post(lab.url + path, data=b"x" * 1000) as response:
            assert response.status == 200
            await response.content.readany()
            answered.set()
            with contextlib.suppress(aiohttp.ClientPayloadError):
                return (await response.read()).endswith(b"data: [DONE]\n\n")
        return False

    gone, answered = asyncio.Event(), asyncio.Event()
    body, answer = asyncio.ensure_future(in_its_body()), asyncio.ensure_future(in_its_answer())
    await asyncio.gather(begun.wait(), answered.wait())
    process.send_signal(ends)
    gone.set()
    async with asyncio.timeout(8):  # the answer alone takes ten seconds
        assert await body == (503, "picker-failed")
        assert not await answer
    lab.two.mode = "json"
    await asyncio.sleep(2)
    response, said = await lab.ask(path, b"x" * 1000)
    if path == "/open":
        assert (response.status, response.headers[headers.DECISION]) == (200, "fallback")
    else:
        assert (response.status, reason(response, said)) == (503, "picker-failed")


async def test_a_picker_sees_what_routes_and_backends_make_of_the_headers(lab: Lab, tmp_path: Path) -> None:
    modifier = {"set": [{"name": "x-gateway-inference-objective", "value": "batch"}], "remove": ["x-secret"]}
    rule = manifest.rule(
        "close", filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": modifier}]
    )
    fairness = {"set": [{"name": "x-llm-d-inference-fairness-id", "value": "team"}]}
    rule["backendRefs"][0]["filters"] = [{"type": "RequestHeaderModifier", "requestHeaderModifier": fairness}]
    rule["matches"] = [{"headers": [{"name": "x-secret", "value": "1"}]}]
    made = [each for each in objects(lab) if each["kind"] != "HTTPRoute"]
    settings = msgspec.structs.replace(lab.settings, port=free_port())
    lab.picker.endpoints = [lab.one.address]
    (tmp_path / "other").mkdir()
    async with (
        lab.picker.running(),
        translated_envoy(manifest.snapshot(*made, manifest.route(rule)), settings, tmp_path / "other") as url,
    ):
        lab.url = url
        sent = {"x-gateway-inference-objective": "interactive", "x-secret": "1"}
        response, _ = await lab.ask("/", sent=sent)
        assert response.status == 200  # although the match fits no more
    (asked,) = [message for kind, message in lab.picker.messages if kind == "request_headers"]
    seen = {each.key: each.raw_value.decode() for each in asked.request_headers.headers.headers}
    assert seen["x-gateway-inference-objective"] == "batch"
    assert seen["x-llm-d-inference-fairness-id"] == "team"
    assert "x-secret" not in seen
    assert not {name.lower() for name in lab.one.headers[-1]} & set(headers.NEVER_TO_SERVERS)
