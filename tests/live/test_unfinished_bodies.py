"""Requests that never finish their bodies: how many are held, for how long, and that Envoy keeps to its memory."""

import asyncio
import contextlib
import io
from pathlib import Path

import aiohttp
import psutil
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import free_port, get_json
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.live.harness.translated import translated_envoy

from headgate.gateway.settings import GatewaySettings

pytestmark = pytest.mark.live

MIB = 1 << 20


class Unfinished:
    """A POST that announces more than it sends."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def open(cls, port: int, length: int | None, sent: bytes) -> "Unfinished":
        """With a content-length of *length*, or chunked; *sent* is all that comes."""
        made = cls(*await asyncio.open_connection("127.0.0.1", port))
        framing = f"content-length: {length}" if length is not None else "transfer-encoding: chunked"
        head = (
            f"POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{framing}\r\n\r\n"
        )
        body = sent if length is not None else b"%x\r\n" % len(sent) + sent + b"\r\n"
        made._writer.write(head.encode() + body)
        with contextlib.suppress(OSError):
            await made._writer.drain()
        return made

    async def answer(self) -> tuple[int, str]:
        """Status and reason that came in the end."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        named = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        return int(head.split(b" ", 2)[1]), named.get(b"x-headgate-reason", b"").decode()

    def close(self) -> None:
        """Leave."""
        self._writer.close()


async def test_few_are_held_and_none_for_long(tmp_path: Path) -> None:
    server, picker = ScriptedModelServer(), ScriptedPicker()
    picker.endpoints = [server.address]
    settings = GatewaySettings(
        port=free_port(),
        address="127.0.0.1",
        picker_address=picker.address,
        body_limit_bytes=2 * MIB,
        body_budget_bytes=8 * MIB,
        body_timeout_s=4,
    )
    found = manifest.snapshot(
        manifest.gateway(),
        manifest.route(manifest.rule("pool")),
        manifest.pool("pool"),
        manifest.model_server("one", server.address, "pool"),
    )
    async with server.running(), translated_envoy(found, settings, tmp_path), picker.running():
        held = [await Unfinished.open(settings.port, 1_900_000, b"{") for _ in range(2)]
        short = [await Unfinished.open(settings.port, 1000, b"{") for _ in range(3)]
        for _ in range(3):
            refused = await Unfinished.open(settings.port, 1_900_000, b"{")
            assert await refused.answer() == (503, "overloaded")
            refused.close()
        assert [await each.answer() for each in (*held, *short)] == [(408, "body-timeout")] * 5
        whole = await Unfinished.open(settings.port, 1_900_000, b"x" * 1_900_000)
        assert await whole.answer() == (200, "")
        for each in (*held, *short, whole):
            each.close()


async def test_envoy_keeps_to_its_memory_whatever_comes() -> None:
    with replicas(1) as fleet, gateway(*fleet.urls, "--envoy-memory", "160MiB") as running:
        envoy = psutil.Process(running.pid("envoy"))
        piece = b"x" * (20 * MIB)
        before = envoy.memory_info().rss
        opened = await asyncio.gather(
            *(Unfinished.open(running.info["ports"]["gateway"], None, piece) for _ in range(25))
        )
        grown = envoy.memory_info().rss - before
        print(f"\n25 unfinished bodies of 20 MiB: Envoy grew by {grown / MIB:.0f} MiB")
        assert grown < 300 * MIB, "all of them would be 500"
        for each in opened:
            each.close()
        body = {"model": running.info["model"], "prompt": "x", "max_tokens": 1}

        def served() -> bool:
            return bool(get_json(f"{running.url}/v1/completions", body)["choices"])

        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    if await asyncio.to_thread(served):
                        break
                await asyncio.sleep(0.2)


async def test_whole_bodies_beyond_the_budget_are_refused_by_name() -> None:
    whole = b'{"model": "base-model", "max_tokens": 1, "prompt": "' + b"x" * (30 * MIB) + b'"}'
    above = b'{"prompt": "' + b"x" * (70 * MIB) + b'"}'
    small = b'{"model": "base-model", "max_tokens": 1, "prompt": "x"}'
    with (
        replicas(1, "--model", "base-model") as fleet,
        gateway(*fleet.urls, "--envoy-memory", "1GiB") as running,
    ):
        before = running.pid("envoy")

        async def ask(http: aiohttp.ClientSession, body: bytes) -> tuple[int, str | None, str | None]:
            """Status, and the reason in the body and in the header."""
            kind = {"content-type": "application/json"}
            sent = io.BytesIO(body)
            async with http.post(f"{running.url}/v1/completions", data=sent, headers=kind) as answer:
                told = await answer.json()
                code = told["error"]["code"] if "error" in told else None
                return answer.status, code, answer.headers.get("x-headgate-reason")

        async with aiohttp.ClientSession() as http:
            port = running.info["ports"]["gateway"]
            most = (1 << 30) // 2 // 2 // (64 * MIB)  # half of the memory, half of that for bodies of 10 MB
            held = [await Unfinished.open(port, 30 * MIB, b"{") for _ in range(most)]
            refused = await asyncio.gather(*(ask(http, whole) for _ in range(6)))
            assert refused == [(503, "overloaded", "overloaded")] * 6
            assert (await ask(http, small))[0] == 200
            for _ in range(5):
                assert await ask(http, above) == (503, "overloaded", "overloaded")
            for each in held:
                each.close()
            async with asyncio.timeout(20):
                while (answer := await ask(http, whole))[2] is not None:
                    assert answer == (503, "overloaded", "overloaded")
                    await asyncio.sleep(0.1)
            assert await ask(http, above) == (413, "too-large", "too-large")
            assert answer[0] == 400, "the model server's own word: more than it takes"
        assert running.pid("envoy") == before
