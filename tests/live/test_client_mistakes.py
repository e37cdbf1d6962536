"""Wrong requests and empty fleets: each has its documented status, body and reason; none hangs."""

import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import free_port

pytestmark = pytest.mark.live

MODEL = "demo-model"

STRIP = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
}


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(1, "--speed", "20", "--model", MODEL) as started:
        yield started


@pytest.fixture(scope="module")
def gate(fleet: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    path: Path = tmp_path_factory.mktemp("manifests") / "all.yaml"
    manifest.write(
        path,
        manifest.gateway(),
        manifest.route(
            manifest.rule("full", path="/full", filters=[STRIP]),
            *(manifest.rule(name, path=f"/{name}") for name in ("empty", "dead", "missing")),
        ),
        *(manifest.pool(name) for name in ("full", "empty", "dead")),
        manifest.model_server("alive", fleet.urls[0], app="full"),
        manifest.model_server("dead", f"127.0.0.1:{free_port()}", app="dead"),
    )
    with gateway("-f", str(path), "--body-limit", str(1 << 20)) as started:
        yield started


def good(**changes: object) -> bytes:
    return json.dumps({"model": MODEL, "prompt": "hi", "max_tokens": 1, **changes}).encode()


JSON = "application/json"

CASES = [
    # name, path, body, content type, status, reason
    ("fine", "/full/v1/completions", good(), JSON, 200, None),
    ("broken json", "/full/v1/completions", b'{"model": "demo', JSON, 400, "bad-request"),
    ("not an object", "/full/v1/completions", b"[1, 2]", JSON, 400, "bad-request"),
    ("no model", "/full/v1/completions", b'{"prompt": "hi", "max_tokens": 1}', JSON, 200, None),
    (
        "null for a model",
        "/full/v1/completions",
        b'{"model": null, "prompt": "hi", "max_tokens": 1}',
        JSON,
        200,
        None,
    ),
    (
        "an empty model",
        "/full/v1/chat/completions",
        b'{"model": "", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}',
        JSON,
        200,
        None,
    ),
    ("a model that nobody has", "/full/v1/completions", good(model="nobody"), JSON, 404, "unknown-model"),
    (
        "model is a number",
        "/full/v1/chat/completions",
        b'{"model": 3, "messages": []}',
        JSON,
        400,
        "bad-request",
    ),
    ("empty body", "/full/v1/completions", b"", JSON, 400, "bad-request"),
    ("no route", "/nowhere", good(), JSON, 404, "no-route"),
    ("empty pool", "/empty/v1/completions", good(), JSON, 503, "no-endpoints"),
    ("dead endpoint", "/dead/v1/completions", good(), JSON, 503, None),
    ("missing pool", "/missing/v1/completions", good(), JSON, 500, None),
    ("too large", "/full/v1/completions", good(prompt="x" * (2 << 20)), JSON, 413, "too-large"),
]


@pytest.mark.parametrize(
    ("path", "body", "kind", "status", "reason"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
async def test_a_mistake_is_answered(
    gate: Gateway, path: str, body: bytes, kind: str, status: int, reason: str | None
) -> None:
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as http,
        http.post(gate.url + path, data=io.BytesIO(body), headers={"content-type": kind}) as answer,
    ):
        text = await answer.text()
        assert answer.status == status, text
        if status == 200:
            return
        assert answer.headers["content-type"].startswith("application/json"), text
        error = json.loads(text)["error"]
        assert error["message"] and error["type"]
        assert "x-request-id" in answer.headers
        assert answer.headers["x-headgate-reason"]
        if reason:
            assert answer.headers["x-headgate-reason"] == reason
        if status == 413:
            assert "1048576" in error["message"] or "1 MiB" in error["message"]


@pytest.mark.parametrize("headers", [{f"x-{n}": "1" for n in range(count)} for count in (90, 200)] + [
    {f"x-{n}": "1" * 5000 for n in range(20)}
])  # fmt: skip
async def test_too_many_headers_are_answered_as_such(gate: Gateway, headers: dict[str, str]) -> None:
    """Also where only those that the gateway adds are too many for Envoy."""
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as http,
        http.post(gate.url + "/full/v1/completions", data=good(), headers=headers) as answer,
    ):
        error = (await answer.json())["error"]
        assert (answer.status, error["code"], error["type"]) == (
            431,
            "too-many-headers",
            "invalid_request_error",
        )
        assert answer.headers["x-headgate-reason"] == "too-many-headers"


@pytest.mark.parametrize(
    ("path", "kind"), [("/full/v1/completions", "text/plain"), ("/full/v1/unheard-of", JSON)]
)
async def test_what_the_picker_does_not_understand_reaches_a_server(
    gate: Gateway, path: str, kind: str
) -> None:
    """The server's own answer comes back, with the headers that say who gave it."""
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as http,
        http.post(gate.url + path, data=b"\x00\xff not json", headers={"content-type": kind}) as answer,
    ):
        assert answer.status in (400, 404, 415, 422)
        assert "x-headgate-endpoint" in answer.headers


async def test_a_large_body_on_a_dead_pool_does_not_hang(gate: Gateway) -> None:
    async with (
        asyncio.timeout(10),
        aiohttp.ClientSession() as http,
        http.post(
            gate.url + "/dead/v1/completions", data=good(prompt="x" * 500_000), headers={"content-type": JSON}
        ) as answer,
    ):
        assert answer.status == 503
