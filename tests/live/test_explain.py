"""`headgate explain` of requests that ended badly, through a real Envoy."""

import asyncio
import contextlib
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import HEADGATE, eventually, free_port

pytestmark = pytest.mark.live

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}], "stream": True}


def written(folder: Path, url: str) -> str:
    """A pool of one server that is there, one of a server that is not, and a route with a timeout."""
    path = folder / "pools.yaml"
    manifest.write(
        path,
        manifest.gateway(),
        manifest.route(
            manifest.rule("there", path="/bounded", timeouts={"request": "1s"}),
            manifest.rule("gone", path="/gone"),
            manifest.rule("there"),
        ),
        manifest.pool("there", "FailClose", app="there"),
        manifest.pool("gone", "FailClose", app="gone"),
        *manifest.model_servers([url], app="there"),
        *manifest.model_servers([f"http://127.0.0.1:{free_port()}"], app="gone"),
    )
    return str(path)


async def ask(gate: Gateway, name: str, prefix: str = "", patience_s: float = 60) -> int | None:
    """The status of the answer to the request *name*; None where the client did not wait for it."""
    url = f"{gate.url}{prefix}/v1/chat/completions"
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=patience_s)) as http,
            http.post(url, json=CHAT, headers={"x-request-id": name}) as answer,
        ):
            await answer.read()
            return answer.status
    except (TimeoutError, aiohttp.ClientPayloadError):
        return None


async def ended(gate: Gateway, name: str) -> Any:
    """The record of a request, once it is over."""

    def over() -> Any:
        found = gate.decision(name)
        return found if found["outcome"] else None

    return await asyncio.to_thread(eventually, over, 30)


async def explain(gate: Gateway, *arguments: str) -> str:
    """What the command prints."""
    command = [*HEADGATE, "explain", *arguments, "--admin", gate.admin]
    done = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


async def test_what_ended_a_request_is_named(tmp_path: Path) -> None:
    async with ScriptedModelServer().running() as server:
        with contextlib.ExitStack() as stack:
            started = gateway("-f", written(tmp_path, f"http://{server.address}"))
            gate = await asyncio.to_thread(stack.enter_context, started)
            assert await ask(gate, "well") == 200
            assert (await ended(gate, "well"))["why"] == "answered"
            server.mode = "hang"
            assert await ask(gate, "bounded", "/bounded") == 504
            record = await ended(gate, "bounded")
            assert record["why"].startswith("timeout: the route's `timeouts.request` was over")
            assert record["outcome"]["details"] == "response_timeout"
            assert record["time"].endswith("Z") and record["ended"] > record["time"]
            assert await ask(gate, "impatient", patience_s=8) is None
            why = (await ended(gate, "impatient"))["why"]
            assert why.startswith("the client went away before any token was seen")
            assert f"{server.address} hung while it waited there" in why
            server.mode = "reset"
            assert await ask(gate, "reset") == 503
            assert "failed before it answered" in (await ended(gate, "reset"))["why"]
            server.mode = "cut"
            assert await ask(gate, "cut") == 502
            assert (await ended(gate, "cut"))["why"].startswith("the answer broke off")
            assert await ask(gate, "gone", "/gone") == 503
            assert "connect failure" in (await ended(gate, "gone"))["why"]
            text = await explain(gate, "bounded")
            assert "timeout: the route's `timeouts.request` was over" in text
            table = await explain(gate, "--recent", "2")
            assert [line.split()[1] for line in table.splitlines()[1:3]] == ["gone", "cut"]
            assert (await explain(gate, "--slowest", "1")).splitlines()[1].split()[1] == "impatient"


async def test_who_rescued_a_request_from_a_hanging_server_is_named() -> None:
    async with ScriptedModelServer().running() as silent, ScriptedModelServer().running() as lively:
        silent.mode = "hang"
        with contextlib.ExitStack() as stack:
            urls = [f"http://{each.address}" for each in (silent, lively)]
            started = gateway(*urls, "--rescue-after", "4s", "--policy", "round-robin")
            gate = await asyncio.to_thread(stack.enter_context, started)
            assert set(await asyncio.gather(ask(gate, "a"), ask(gate, "b"))) == {200}
            records = [await ended(gate, name) for name in ("a", "b")]
            (moved,) = [each for each in records if each["decision"]["chosen"][0] == silent.address]
            assert moved["outcome"]["served"] == lively.address
            assert f"{silent.address} hung (suspect: " in moved["why"]
            assert f"rescued by {lively.address}; 2 attempts" in moved["why"]
