"""`headgate explain` of requests that no picker saw to their end, through a real Envoy."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import HEADGATE

pytestmark = pytest.mark.live


def model(name: str) -> dict[str, Any]:
    """A match of requests to this path that name the model."""
    return {
        "path": {"type": "PathPrefix", "value": "/v1"},
        "headers": [{"name": "X-Gateway-Model-Name", "value": name}],
    }


def on(host: str, *rules: Any, name: str = "routes") -> Any:
    """A route of one host."""
    made = manifest.route(*rules, name=name)
    made["spec"]["hostnames"] = [host]
    return made


def written(folder: Path, url: str) -> str:
    """A Gateway with a host whose routes go by the model, and one without."""
    path = folder / "routes.yaml"
    manifest.write(
        path,
        manifest.gateway(),
        on("models.example", manifest.rule("p", matches=[model("small"), model("large")])),
        on("plain.example", manifest.rule("p", path="/plain"), name="plain"),
        manifest.pool("p", "FailClose", app="p"),
        *manifest.model_servers([url], app="p"),
    )
    return str(path)


@pytest.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gateway]:
    async with ScriptedModelServer().running() as server:
        keys = tmp_path / "keys"
        keys.write_text("carol: k3y-of-carol-0123456789\n")
        keys.chmod(0o600)
        with contextlib.ExitStack() as stack:
            started = gateway(
                "-f",
                written(tmp_path, f"http://{server.address}"),
                "--client-keys",
                str(keys),
                "--body-limit",
                "2KB",
            )
            yield await asyncio.to_thread(stack.enter_context, started)


KEY = {"authorization": "Bearer k3y-of-carol-0123456789"}


async def ask(gate: Gateway, name: str, host: str, path: str, **more: Any) -> int:
    headers = {"x-request-id": name, "host": host, **more.pop("headers", KEY)}
    async with aiohttp.ClientSession() as http, http.post(gate.url + path, headers=headers, **more) as answer:
        await answer.read()
        return answer.status


async def known(http: aiohttp.ClientSession, gate: Gateway, name: str) -> int:
    """200 where the gateway remembers that it answered the request."""
    async with http.get(f"{gate.admin}/v1/answers/{name}") as answer:
        return answer.status


async def explain(gate: Gateway, name: str, *more: str) -> str:
    """What the command prints, once the request is known."""
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while await known(http, gate, name) != 200:
            await asyncio.sleep(0.05)
    command = [*HEADGATE, "explain", name, "--admin", gate.admin, *more]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


async def test_why_no_route_took_a_request(gate: Gateway) -> None:
    chat = "/v1/chat/completions"
    assert await ask(gate, "model", "models.example", chat, json={"model": "huge"}) == 404
    text = await explain(gate, "model")
    assert "POST /v1/chat/completions  host models.example  port" in text
    assert "answered by the gateway: 404 model-not-found" in text
    assert "takes the model huge; models there are: large, small" in text
    assert await ask(gate, "broken", "models.example", chat, data=b"{", headers=KEY) == 400
    assert "400 unreadable-body" in await explain(gate, "broken")
    assert await ask(gate, "path", "plain.example", "/elsewhere?key=s3cr3t", json={}) == 404
    text = await explain(gate, "path")
    assert "takes the path /elsewhere; paths there are: /plain" in text
    assert await ask(gate, "host", "nobody.example:81", "/plain", json={}) == 404
    text = await explain(gate, "host")
    assert "takes the host nobody.example; hosts there are: models.example, plain.example" in text
    found = json.loads(await explain(gate, "host", "--output", "json"))
    assert (found["answer"]["status"], found["answer"]["reason"]) == (404, "no-route")


async def test_refusals_are_found_and_no_secret_is_kept(gate: Gateway) -> None:
    wrong = {"authorization": "Bearer s3cr3t-s3cr3t-s3cr3t"}
    assert await ask(gate, "wrong", "plain.example", "/plain?key=s3cr3t", json={}, headers=wrong) == 401
    text = await explain(gate, "wrong", "--output", "json")
    assert "invalid-api-key" in text
    assert "s3cr3t" not in text
    assert await ask(gate, "none", "plain.example", "/plain", json={}, headers={}) == 401
    assert "401 missing-api-key" in await explain(gate, "none")
    assert not [line for line in (*gate.child.out, *gate.child.err) if "ext_proc" in line]  # nobody was asked
    many = {f"x-{number}": "x" for number in range(98)}
    assert await ask(gate, "many", "plain.example", "/plain", headers=KEY | many) == 431


async def test_a_body_that_the_picker_cannot_read_is_found(gate: Gateway) -> None:
    sent = {"data": b'{"model":', "headers": KEY | {"content-type": "application/json"}}
    assert await ask(gate, "torn", "plain.example", "/plain/v1/chat/completions", **sent) == 400
    text = await explain(gate, "torn")
    assert "answered by the gateway: 400 bad-request" in text
    assert "The body is not what this path needs" in text
    big = {"json": {"model": "small", "prompt": "x" * 300_000}}
    assert await ask(gate, "long", "plain.example", "/plain/v1/completions", **big) == 413
    assert "413 too-large" in await explain(gate, "long")


async def test_what_the_picker_decided_is_told_by_the_picker(gate: Gateway) -> None:
    assert await ask(gate, "routed", "plain.example", "/plain", json={"model": "small"}) in (200, 404)
    assert await ask(gate, "later", "plain.example", "/elsewhere", json={}) == 404
    await explain(gate, "later")
    async with aiohttp.ClientSession() as http:
        assert await known(http, gate, "routed") == 404
