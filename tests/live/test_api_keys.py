"""Model servers that answer nobody without a key: they are asked with it, and it is seen nowhere."""

import asyncio
import contextlib
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests import manifests as manifest
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import HEADGATE, eventually, free_port

pytestmark = pytest.mark.live

KEYS = ("sk-first-5ecret5ecret", "sk-second-5ecret5ecret")
CLIENT = "Bearer sk-of-the-client"


class Locked:
    """A model server that demands *key* on every path, and the Authorization headers that it saw by path."""

    def __init__(self, key: str, model: str) -> None:
        self.key, self.model, self.port = key, model, free_port()
        self.seen: dict[str, set[str]] = {}

    @property
    def url(self) -> str:
        """Of the server."""
        return f"http://127.0.0.1:{self.port}"

    async def answer(self, request: web.Request) -> web.Response:
        """As vLLM does with `--api-key`, metrics included."""
        shown = request.headers.get("authorization", "")
        self.seen.setdefault(request.path, set()).add(shown)
        if request.path.startswith("/v1/completions"):
            return web.json_response({"choices": [], "model": self.model})
        if shown != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        if request.path == "/v1/models":
            return web.json_response({"object": "list", "data": [{"id": self.model, "object": "model"}]})
        if request.path == "/metrics":
            return web.Response(text="vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n")
        return web.json_response({"version": "0.1"})


@pytest.fixture
async def servers() -> AsyncIterator[list[Locked]]:
    made = [Locked(key, f"m{number}") for number, key in enumerate(KEYS)]
    async with contextlib.AsyncExitStack() as stack:
        for each in made:
            app = web.Application()
            app.router.add_route("*", "/{path:.*}", each.answer)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", each.port).start()
        yield made


@contextlib.asynccontextmanager
async def run(*args: str) -> AsyncIterator[Gateway]:
    """`headgate run`, started and ended off the loop that serves the model servers."""
    with contextlib.ExitStack() as stack:
        made = await asyncio.to_thread(stack.enter_context, gateway(*args))
        try:
            yield made
        finally:
            await asyncio.to_thread(stack.close)


def models(gate: Gateway) -> set[str]:
    """What the picker knows to be served."""
    return {name for pool in gate.pools() for each in pool["endpoints"] for name in each["models"]}


def pages(gate: Gateway) -> str:
    """What the gateway shows to anybody who asks."""
    found = []
    metrics = f"http://127.0.0.1:{gate.info['ports']['metrics']}/metrics"
    for url in (f"{gate.admin}/v1/status", f"{gate.admin}/v1/decisions", f"{gate.admin}/metrics", metrics):
        with urllib.request.urlopen(url, timeout=30) as answer:
            found.append(answer.read().decode())
    return "\n".join(found)


def processes(gate: Gateway) -> str:
    """Command lines and environments of all processes of the gateway."""
    pids = [gate.child.process.pid, *(gate.pid(name) for name in ("envoy", "controller", "picker"))]
    read = [Path(f"/proc/{pid}/{name}").read_bytes() for pid in pids for name in ("cmdline", "environ")]
    return b"\n".join(read).decode(errors="replace")


async def command(*args: str) -> str:
    """What a command prints, whatever comes of it."""
    done = await asyncio.to_thread(
        subprocess.run, [*HEADGATE, *args], capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr


async def ask(gate: Gateway, model: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as http,
        http.post(
            f"{gate.url}/v1/completions",
            json={"model": model, "prompt": "x"},
            headers={"authorization": CLIENT},
        ) as answer,
    ):
        return answer.status, f"{answer.headers} {await answer.text()}"


async def test_a_server_is_asked_with_its_key_and_the_key_is_seen_nowhere(
    servers: list[Locked], tmp_path: Path
) -> None:
    keys = tmp_path / "keys"
    keys.write_text(f"{servers[0].url} wrong-for-now\n")
    second: dict[str, Any] = dict(manifest.model_server("second", servers[1].url, "default"))
    second["metadata"] = {**second["metadata"], "labels": {"headgate.dev/pool": "default"}}
    second["spec"] = {**second["spec"], "apiKey": {"secretRef": {"name": "engines", "key": "second"}}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "engines"},
        "stringData": {"second": KEYS[1]},
    }
    files = str(manifest.write(tmp_path / "second.yaml", second, secret))
    said = ""
    async with run(servers[0].url, "-f", files, "--api-key-file", str(keys)) as gate:
        (probed,) = [event for event in gate.events if event["event"] == "probed"]
        assert "refuses the API key" in probed["replicas"][0]["error"]
        await asyncio.to_thread(eventually, lambda: models(gate) == {"m1"}, 30)
        said += (status := await command("status", "--admin", gate.admin))
        assert "answers 401: it wants an API key: --api-key-file or spec.apiKey" in status
        assert "http-401" in status
        keys.write_text(f"# changed\n{servers[0].url} {KEYS[0]}\n")
        await asyncio.to_thread(eventually, lambda: models(gate) == {"m0", "m1"}, 30)
        for each in servers:
            status_code, answer = await ask(gate, each.model)
            assert status_code == 200
            said += answer
            assert each.seen["/v1/completions"] == {CLIENT}
        said += await asyncio.to_thread(pages, gate) + await asyncio.to_thread(processes, gate)
        said += await command("check", "-f", files) + await command("translate", "-f", files)
        said += await command("explain", "--last", "--admin", gate.admin, "--output", "json")
    said += "\n".join([*gate.child.out, *gate.child.err])
    assert [key for key in KEYS if key in said] == []
    shown = [header for each in servers for headers in each.seen.values() for header in headers]
    assert not any(KEYS[1] in header for headers in servers[0].seen.values() for header in headers)
    assert not any(KEYS[0] in header for headers in servers[1].seen.values() for header in headers)
    assert len(shown) > 2


async def test_a_server_that_wants_a_key_says_so_at_the_start(servers: list[Locked], tmp_path: Path) -> None:
    async with run(servers[0].url) as gate:
        (probed,) = [event for event in gate.events if event["event"] == "probed"]
        assert probed["replicas"][0]["error"].startswith(
            "it wants an API key: --api-key-file or spec.apiKey (401"
        )
    missing = tmp_path / "missing"
    refused = " ".join((await command("run", servers[0].url, "--api-key-file", str(missing))).split())
    assert "--api-key-file" in refused
    assert "no such file" in refused
