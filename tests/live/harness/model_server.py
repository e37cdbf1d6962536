"""A model server in the test's own process that does as it is told and remembers what it was sent."""

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web
from tests.live.harness.processes import free_port

BIG_BYTES = 3 << 19
"""Length of a `big` answer: above the 1 MiB that Envoy buffers by default."""

PROMPT_TOKENS, CACHED_TOKENS = 7, 4
"""The usage it tells of every request; completion tokens are the events of a stream."""


class ScriptedModelServer:
    """Serves every path on a port of its own; `/metrics` and `/v1/models` are not remembered."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.port = free_port()
        self._tls = tls
        self.mode = "json"
        """`json`, `sse`, `big`, `503`, `reset`, `cut` or `hang`; a body with `"stream": true` makes `json` a stream."""
        self.models = ["m"]
        """Names that it lists; it answers to any."""
        self.events = 8
        self.gaps_s = 0.01
        self.early = b""
        """What a stream begins with; its events come once `go` is set."""
        self.go = asyncio.Event()
        self.pieces: list[bytes] = []
        """What a stream is made of in place of events of its own."""
        self.kind = "text/event-stream"
        """Its content type."""
        self.added_headers: dict[str, str] = {}
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ScriptedModelServer"]:
        """Serve until the block ends."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _models(self, _: web.Request) -> web.Response:
        cards = [{"id": name, "object": "model"} for name in self.models]
        return web.json_response({"object": "list", "data": cards})

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text="vllm:num_requests_waiting 0\nvllm:num_requests_running 0\n")

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.bodies.append(body)
        asked = json.loads(body) if body.startswith(b"{") and body.endswith(b"}") else {}
        whole: dict[str, Any] = {"model": asked.get("model"), "choices": [], "usage": self._usage()}
        match self.mode:
            case "503":
                return web.json_response({"error": {"message": "busy"}}, status=503)
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                raise web.HTTPInternalServerError
            case "cut":
                cut = web.StreamResponse(headers={"content-type": "application/json"})
                await cut.prepare(request)
                await cut.write(b'{"model": ')
                assert request.transport is not None
                request.transport.close()
                return cut
            case "hang":
                await asyncio.sleep(60)
                raise web.HTTPInternalServerError
            case "big":
                return web.json_response({"data": "x" * BIG_BYTES, **whole})
            case "json" if not asked.get("stream"):
                return web.json_response({"port": self.port, **whole}, headers=self.added_headers)
            case _:
                return await self._stream(request, whole)

    async def _stream(self, request: web.Request, last: dict[str, Any]) -> web.StreamResponse:
        """Events one by one; the one that tells the usage comes in two pieces."""
        response = web.StreamResponse(headers={"content-type": self.kind})
        await response.prepare(request)
        if self.early:
            await response.write(self.early)
            await self.go.wait()
        if self.pieces:
            for piece in self.pieces:
                await response.write(piece)
                await asyncio.sleep(self.gaps_s)
            return response
        for index in range(self.events):
            event = {"model": last["model"], "choices": [{"index": 0, "text": f"t{index}"}]}
            await response.write(b"data: " + json.dumps(event).encode() + b"\n\n")
            await asyncio.sleep(self.gaps_s)
        end = b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"
        await response.write(end[:30])
        await response.write(end[30:])
        return response

    def _usage(self) -> dict[str, Any]:
        return {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": self.events,
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }
