"""Routes that match the body's model: pools chosen by name, forged headers, large bodies, a picker that hangs."""

import asyncio
import collections
import io
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import eventually
from tests.manifests import Manifest

pytestmark = pytest.mark.live

MODEL_NAME = "X-Gateway-Model-Name"
JSON = {"content-type": "application/json"}


def by_model(name: str, *pools: str | tuple[str, int], path: str = "/v1", **also: str) -> Manifest:
    """A rule for one model; *also* are further headers."""
    headers = [{"name": MODEL_NAME, "value": name}]
    headers += [{"name": each, "value": value} for each, value in also.items()]
    match = {"path": {"type": "PathPrefix", "value": path}, "headers": headers}
    return manifest.rule(*pools, matches=[match])


@pytest.fixture(scope="module")
def small() -> Iterator[Replicas]:
    with replicas(2, "--speed", "20", "--model", "small", "--lora", "shared") as started:
        yield started


@pytest.fixture(scope="module")
def large() -> Iterator[Replicas]:
    with replicas(2, "--speed", "20", "--model", "large", "--lora", "shared") as started:
        yield started


@pytest.fixture(scope="module")
def gate(small: Replicas, large: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    path = manifest.write(
        tmp_path_factory.mktemp("manifests") / "all.yaml",
        manifest.gateway(),
        manifest.route(
            by_model("small", "small"),
            by_model("large", "large"),
            by_model("shared", ("small", 70), ("large", 30)),
            by_model("shared", "large", tier="gold"),
        ),
        *(manifest.pool(name, mode="FailOpen") for name in ("small", "large")),
        *manifest.model_servers(small.urls, app="small"),
        *manifest.model_servers(large.urls, app="large"),
    )
    with gateway("-f", str(path)) as started:
        yield started


def body(model: object, **more: object) -> bytes:
    return json.dumps({"model": model, "prompt": "hi", "max_tokens": 1, "ignore_eos": True, **more}).encode()


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), 1 << 18):
        yield content[start : start + (1 << 18)]


async def ask(
    http: aiohttp.ClientSession, url: str, data: Any, **headers: str
) -> tuple[aiohttp.ClientResponse, bytes]:
    async with http.post(url + "/v1/completions", data=data, headers=JSON | headers) as answer:
        return answer, await answer.read()


def endpoints(fleet: Replicas) -> set[str]:
    return {url.removeprefix("http://") for url in fleet.urls}


async def test_each_model_has_its_pool_and_its_picker(
    gate: Gateway, small: Replicas, large: Replicas
) -> None:
    async with aiohttp.ClientSession() as http:
        for name, fleet in (("small", small), ("large", large)):
            seen = set()
            for data in (body(name), body(name, stream=True), in_pieces(body(name)), *[body(name)] * 9):
                answer, text = await ask(http, gate.url, data)
                assert answer.status == 200, text
                seen.add(answer.headers["x-headgate-endpoint"])
                decision = gate.decision(answer.headers["x-request-id"])["decision"]
                assert (decision["pool"], decision["model"]) == (f"default/{name}", name)
                assert decision["chosen"][0] == answer.headers["x-headgate-endpoint"]
            assert seen == endpoints(fleet)
        for sent in ({}, {"x-headgate-pools": "default/none"}):
            async with http.get(gate.url + "/v1/models", headers=sent) as listed:
                assert listed.status == 200
                assert {each["id"] for each in (await listed.json())["data"]} >= {"small", "large", "shared"}


@pytest.mark.parametrize("name", [MODEL_NAME, MODEL_NAME.lower(), "X-GATEWAY-MODEL-NAME"])
async def test_a_forged_header_has_no_effect(gate: Gateway, small: Replicas, name: str) -> None:
    async with aiohttp.ClientSession() as http:
        answer, text = await ask(http, gate.url, body("small"), **{name: "large"})
        assert answer.status == 200, text
        assert answer.headers["x-headgate-endpoint"] in endpoints(small)
        for data, kind, told in (
            (body("unknown"), "application/json", (404, "model-not-found")),
            (body("small"), "text/plain", (400, "unreadable-body")),
        ):
            answer, text = await ask(http, gate.url, data, **{name: "small", "content-type": kind})
            assert (answer.status, answer.headers["x-headgate-reason"]) == told


async def test_weights_and_further_headers_hold_beside_the_model(gate: Gateway, large: Replicas) -> None:
    async with aiohttp.ClientSession() as http:
        pools: collections.Counter[str] = collections.Counter()
        for _ in range(150):
            answer, text = await ask(http, gate.url, body("shared"))
            assert answer.status == 200, text
            pools[gate.decision(answer.headers["x-request-id"])["decision"]["pool"]] += 1
        print(f"\n70/30: {dict(pools)}")
        assert set(pools) == {"default/small", "default/large"}
        assert 0.15 < pools["default/large"] / 150 < 0.45
        for _ in range(10):
            answer, text = await ask(http, gate.url, body("shared"), tier="gold")
            assert answer.status == 200, text
            assert answer.headers["x-headgate-endpoint"] in endpoints(large)


@pytest.mark.parametrize(
    "data",
    [b"", b'{"model": "small"', b"[1]", b"{}", body(None), body(""), body("small\r\nx: y")],
)
async def test_a_body_that_names_no_model_is_told_why(gate: Gateway, data: bytes) -> None:
    async with aiohttp.ClientSession() as http:
        answer, text = await ask(http, gate.url, data)
        assert answer.status == 400
        assert json.loads(text)["error"]["code"] == answer.headers["x-headgate-reason"] == "unreadable-body"


@pytest.mark.parametrize("name", [7, "é", "Small", '"'])
async def test_a_model_that_no_route_takes_is_told_those_that_there_are(gate: Gateway, name: object) -> None:
    async with aiohttp.ClientSession() as http:
        answer, text = await ask(http, gate.url, body(name))
        error = json.loads(text)["error"]
        assert (answer.status, error["code"], error["param"]) == (404, "model_not_found", "model")
        assert error["message"] == (
            f'No route takes the model "{name}" here; there are routes for large, shared, small.'
        )
        async with http.post(gate.url + "/v2/completions", data=body(name), headers=JSON) as answer:
            assert (answer.status, answer.headers["x-headgate-reason"]) == (404, "no-route")


async def test_a_hanging_picker_leaves_each_model_its_pool(
    gate: Gateway, small: Replicas, large: Replicas
) -> None:
    pid = gate.pid("picker")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        async with aiohttp.ClientSession() as http:
            answers = await asyncio.gather(*(ask(http, gate.url, body(n)) for n in ("small", "large") * 3))
    finally:
        os.kill(pid, signal.SIGCONT)
    assert [answer.status for answer, _ in answers] == [200] * 6
    assert {answer.headers["x-headgate-decision"] for answer, _ in answers} == {"fallback"}
    served = [answer.headers["x-headgate-endpoint"] for answer, _ in answers]
    assert set(served[::2]) <= endpoints(small) and set(served[1::2]) <= endpoints(large)
    await asyncio.to_thread(eventually, gate.ready)


async def test_large_bodies_pass_unchanged_and_the_limit_is_told(tmp_path: Path) -> None:
    """Behind a rule that no request fits before its model is known."""
    async with ScriptedModelServer().running() as server:
        server.models = ["small"]
        scripted = {"group": "headgate.dev", "kind": "ModelServer", "name": "scripted"}
        uploads = {"matches": [{"path": {"value": "/upload"}}], "backendRefs": [scripted]}
        path = manifest.write(
            tmp_path / "one.yaml",
            manifest.gateway(),
            manifest.route(by_model("small", "small"), uploads),
            manifest.pool("small", mode="FailOpen"),
            manifest.model_server("scripted", server.address, app="small"),
        )
        with gateway("-f", str(path), "--body-limit", "10MiB") as gate:
            mib8, mib11 = (body("small", prompt="x" * (mib << 20)) for mib in (8, 11))
            async with aiohttp.ClientSession() as http:
                for data in (io.BytesIO(mib8), in_pieces(mib8)):
                    answer, text = await ask(http, gate.url, data)
                    assert answer.status == 200, text
                answer, text = await ask(http, gate.url, io.BytesIO(mib11))
                assert (answer.status, answer.headers["x-headgate-reason"]) == (413, "too-large")
                assert "10 MiB" in json.loads(text)["error"]["message"]
                text_only = {"content-type": "text/plain"}
                async with http.post(
                    gate.url + "/upload", data=io.BytesIO(mib11), headers=text_only
                ) as uploaded:
                    assert uploaded.status == 200, "what is no JSON is neither held nor limited"
            expected = [mib8, mib8, mib11]
            if shutil.which("curl"):
                assert await over_http2(gate.url, mib8, tmp_path) == "200 2"
                expected.append(mib8)
        assert server.bodies == expected
        assert not [name for each in server.headers for name in each if "model-name" in name]


async def over_http2(url: str, data: bytes, folder: Path) -> str:
    """Status and HTTP version of the answer to a POST in HTTP/2 by prior knowledge."""
    file = folder / "body.json"
    file.write_bytes(data)
    options = ("-s", "-o", os.devnull, "-w", "%{http_code} %{http_version}", "--http2-prior-knowledge")
    sent = ("-H", "content-type: application/json", "--data-binary", f"@{file}", url + "/v1/completions")
    curl = await asyncio.create_subprocess_exec("curl", *options, *sent, stdout=asyncio.subprocess.PIPE)
    said, _ = await curl.communicate()
    return said.decode()


async def test_the_first_such_rule_cuts_no_running_stream(
    small: Replicas, large: Replicas, tmp_path: Path
) -> None:
    """It changes how requests of the whole port begin, but no connection."""
    path = tmp_path / "edited.yaml"
    objects = [
        manifest.gateway(),
        *(manifest.pool(name) for name in ("small", "large")),
        *manifest.model_servers(small.urls, app="small"),
        *manifest.model_servers(large.urls, app="large"),
    ]
    manifest.write(path, manifest.route(manifest.rule("small")), *objects)
    with gateway("-f", str(path)) as gate:
        async with aiohttp.ClientSession() as http:
            long = body("small", max_tokens=8000, stream=True)
            async with http.post(gate.url + "/v1/completions", data=long, headers=JSON) as stream:
                await stream.content.readline()
                manifest.write(
                    path, manifest.route(manifest.rule("small"), by_model("large", "large")), *objects
                )
                async with asyncio.timeout(10):
                    while True:
                        answer, _ = await ask(http, gate.url, body("large"))
                        if answer.status == 200:
                            break
                        await asyncio.sleep(0.1)
                assert answer.headers["x-headgate-endpoint"] in endpoints(large)
                assert not stream.content.is_eof()
                assert (await stream.read()).rstrip().endswith(b"data: [DONE]")
