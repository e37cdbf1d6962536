"""One simulated model server: its HTTP handlers, its socket and its faults."""

import asyncio
import random
import socket
import time
import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from headgate.io.fleet import frames, responses
from headgate.io.fleet.api import ApiError, Call, Kind, Server, read_call
from headgate.io.fleet.clock import FleetClock
from headgate.io.fleet.control import read_fault_body
from headgate.io.fleet.driver import Answer, EngineDriver
from headgate.io.fleet.faults import Fault, FaultBoard
from headgate.io.fleet.faults import Kind as FaultKind
from headgate.io.fleet.settings import FleetSettings, engine_preset
from headgate.io.fleet.sockets import base_url, bind
from headgate.sim.engine import EngineModel

Writer = frames.Frames | responses.Frames

BODY_LIMIT = 256 * 1024 * 1024
"""Largest request body, bytes."""

VERSION = "0.11.0"
"""The vLLM release whose API and metrics are shown."""


class Replica:
    """A server that can crash and come back on its port. `start` it first, `close` it last."""

    def __init__(self, settings: FleetSettings, index: int, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        self.name = f"replica-{index}"
        self.host = settings.host
        self.port: int = sock.getsockname()[1]
        self.faults = FaultBoard()
        self._settings = settings
        self._preset = engine_preset(settings)
        self._adapters = dict.fromkeys(settings.loras)
        self._rng = random.Random(f"{settings.seed}/{index}")
        self._clock = FleetClock(settings.speed, time.monotonic())
        self._driver = EngineDriver(self._new_engine, self._clock, self._preset.model, loop)
        self._kept = responses.Kept()
        self._healed = asyncio.Condition()
        self._expiries: dict[FaultKind, asyncio.Task[None]] = {}
        self._stale_page = ""
        self._started = int(_unix_time())
        self._sock: socket.socket | None = sock
        self._site: web.SockSite | None = None
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            handler_cancellation=True,
            shutdown_timeout=max(settings.drain_s, 0.001),  # aiohttp reads 0 as no limit
            keepalive_timeout=3_700,  # longer than a proxy keeps an idle connection: the proxy closes, not we
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return base_url(self.host, self.port)

    @property
    def model(self) -> str:
        """Name of the base model."""
        return self._preset.model

    @property
    def engine(self) -> EngineModel:
        """The engine it runs now; a crash makes a new one."""
        return self._driver.engine

    async def start(self) -> None:
        """Begin to answer."""
        await self._runner.setup()
        await self._listen()

    async def close(self) -> None:
        """Stop listening, let running answers end within the drain time, cut the rest."""
        for task in self._expiries.values():
            task.cancel()
        await self._runner.cleanup()
        self._driver.close()
        if self._sock is not None:
            self._sock.close()

    async def apply(self, fault: Fault, spare: asyncio.BaseTransport | None = None) -> None:
        """Put a fault in force now; `recover` ends all of them. A crash leaves the connection *spare* alone.

        Raises OSError when a crashed replica's port was taken meanwhile.
        """
        if fault.kind == "recover":
            for kind in [active.kind for active in self.faults.active]:
                await self._heal(kind)
            return
        if fault.kind == "stale-metrics":
            self._stale_page = self._page()
        crashes = fault.kind == "crash" and not self.faults.has("crash")
        self.faults.set(fault)
        self._set_pace()
        if crashes:
            await self._crash(spare)
        self._expire_later(fault)
        async with self._healed:
            self._healed.notify_all()

    def _expire_later(self, fault: Fault) -> None:
        earlier = self._expiries.pop(fault.kind, None)
        if earlier is not None:
            earlier.cancel()
        if fault.for_s is not None:
            self._expiries[fault.kind] = asyncio.create_task(self._expire(fault.kind, fault.for_s))

    async def _expire(self, kind: FaultKind, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._expiries.pop(kind, None)
        await self._heal(kind)

    async def _heal(self, kind: FaultKind) -> None:
        crashed = kind == "crash" and self.faults.has("crash")
        if crashed:
            await self._listen()
        self.faults.clear(kind)
        expiry = self._expiries.pop(kind, None)
        if expiry is not None:
            expiry.cancel()
        self._set_pace()
        async with self._healed:
            self._healed.notify_all()

    def _set_pace(self) -> None:
        self._driver.set_rate(self._settings.speed * self.faults.pace())

    async def _listen(self) -> None:
        if self._sock is None:
            self._sock = bind(self.host, self.port)
        self._site = web.SockSite(self._runner, self._sock, backlog=4096)
        await self._site.start()

    async def _crash(self, spare: asyncio.BaseTransport | None) -> None:
        """Close the socket, cut every connection, lose the cache and the counters."""
        if self._site is not None:
            await self._site.stop()
        if self._sock is not None:
            self._sock.close()
        self._site = self._sock = None
        server = self._runner.server
        for connection in server.connections if server is not None else ():
            if connection.transport is not None and connection.transport is not spare:
                connection.transport.abort()
        self._driver.restart()
        self._kept.clear()

    def _new_engine(self) -> EngineModel:
        return EngineModel(self._preset, self._rng, max_adapters=self._settings.max_loras)

    # --- HTTP

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=BODY_LIMIT, middlewares=[self._errors])
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        app.router.add_post("/v1/responses", self._responses)
        app.router.add_get("/v1/responses/{id}", self._kept_one)
        app.router.add_delete("/v1/responses/{id}", self._kept_one)
        app.router.add_post("/v1/responses/{id}/cancel", self._cancel)
        app.router.add_post("/v1/conversations", self._begin_conversation)
        app.router.add_get("/v1/conversations/{id}", self._kept_one)
        app.router.add_delete("/v1/conversations/{id}", self._kept_one)
        app.router.add_get("/v1/conversations/{id}/items", self._items)
        app.router.add_post("/v1/conversations/{id}/items", self._items)
        app.router.add_get("/v1/conversations/{id}/items/{item}", self._items)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/health", self._health)
        app.router.add_get("/version", self._version)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_post("/v1/load_lora_adapter", self._load_adapter)
        app.router.add_post("/v1/unload_lora_adapter", self._unload_adapter)
        app.router.add_post("/sleep", self._sleep)
        app.router.add_post("/wake_up", self._wake_up)
        app.router.add_get("/is_sleeping", self._is_sleeping)
        app.router.add_get("/fault", self._list_faults)
        app.router.add_post("/fault", self._post_fault)
        return app

    @web.middleware
    async def _errors(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Errors that the HTTP library makes (404, 405, 413), in the API's shape; names the replica."""
        try:
            response: web.StreamResponse = await handler(request)
        except web.HTTPException as error:
            response = self._failure(ApiError(error.status, error.reason, error.reason))
        if not response.prepared:
            response.headers["x-inference-pod"] = self.name
        return response

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "chat")

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "completions")

    async def _responses(self, request: web.Request) -> web.StreamResponse:
        return await self._generate(request, "responses")

    async def _kept_one(self, request: web.Request) -> web.Response:
        """An answer or conversation that is kept, shown or forgotten."""
        await self._while_struck("hang-all", 0.0)
        id_ = request.match_info["id"]
        shown = self._kept.shown(id_)
        if isinstance(shown, ApiError):
            return self._failure(shown)
        if request.method == "DELETE":
            self._kept.forget(id_)
            shown = {"id": id_, "object": f"{shown['object']}.deleted", "deleted": True}
        return _json(shown)

    async def _cancel(self, request: web.Request) -> web.Response:
        shown = self._kept.shown(request.match_info["id"])
        if isinstance(shown, ApiError):
            return self._failure(shown)
        return self._failure(ApiError(400, "Cannot cancel a synchronous response.", "invalid_request_error"))

    async def _begin_conversation(self, request: web.Request) -> web.Response:
        await self._while_struck("hang-all", 0.0)
        begun = responses.new_conversation(self._kept, await request.read(), int(_unix_time()))
        return self._failure(begun) if isinstance(begun, ApiError) else _json(begun)

    async def _items(self, request: web.Request) -> web.Response:
        """Items of a conversation, shown or added."""
        await self._while_struck("hang-all", 0.0)
        id_, item = request.match_info["id"], request.match_info.get("item")
        if request.method == "POST":
            shown = responses.add_items(self._kept, id_, await request.read())
        elif item is None:
            shown = responses.list_items(self._kept, id_, request.query)
        else:
            shown = responses.one_item(self._kept, id_, item)
        return self._failure(shown) if isinstance(shown, ApiError) else _json(shown)

    async def _generate(self, request: web.Request, kind: Kind) -> web.StreamResponse:
        body = await request.read()
        async with self._healed:
            await self._healed.wait_for(lambda: not self._driver.instruments.asleep)
        roll = self._rng.random()
        await self._while_struck("hang", roll)
        await self._while_struck("hang-all", roll)
        if self.faults.strikes("error-500", roll):
            return self._failure(ApiError(500, "Internal server error", "InternalServerError"))
        if self.faults.strikes("error-429", roll):
            response = self._failure(ApiError(429, "Too many requests", "RateLimitError"))
            response.headers["Retry-After"] = "1"
            return response
        found = self._read(kind, body, request.headers.get("x-request-id"))
        if isinstance(found, ApiError):
            return self._failure(found)
        call, writer = found
        try:
            answer = self._driver.submit(call)
        except ValueError as problem:
            return self._failure(ApiError(400, str(problem)))
        try:
            if call.stream:
                return await self._stream(request, answer, writer, roll)
            return await self._answer_whole(answer, writer, roll)
        finally:
            self._driver.cancel(answer)

    def _read(self, kind: Kind, body: bytes, given: str | None) -> tuple[Call, Writer] | ApiError:
        """What is to be computed and how the answer is written; *given*: the request's id."""
        server = Server(
            self._preset, frozenset(self._adapters), self._settings.seed, self._settings.answer_tokens
        )
        created = int(_unix_time())
        if kind == "responses":
            asked = responses.read_response(body, server, self._kept)
            return asked if isinstance(asked, ApiError) else (asked.call, responses.Frames(asked, created))
        call = read_call(kind, body, server)
        if isinstance(call, ApiError):
            return call
        request_id = ("chatcmpl-" if kind == "chat" else "cmpl-") + (given or uuid.uuid4().hex)
        return call, frames.Frames(call, request_id, created)

    async def _answer_whole(self, answer: Answer, writer: Writer, roll: float) -> web.Response:
        while not answer.done:
            await answer.changed.wait()
            answer.changed.clear()
        await self._while_struck("hang-mid-stream", roll)
        counts = _usage(answer)
        writer.keep(self._kept, counts)
        return web.Response(body=writer.whole(counts), content_type="application/json")

    async def _stream(
        self, request: web.Request, answer: Answer, writer: Writer, roll: float
    ) -> web.StreamResponse:
        """Headers at once, as vLLM does; then frames as tokens come."""
        response = web.StreamResponse(headers={"x-inference-pod": self.name, "cache-control": "no-cache"})
        response.content_type = "text/event-stream"
        response.charset = "utf-8"
        await response.prepare(request)
        sent = [-1] * len(answer.choices)  # letters; -1: not opened, more than there are: closed
        try:
            if writer.begin:
                await response.write(writer.begin)
            while True:
                finished = answer.done
                if any(letters >= 0 for letters in sent):
                    await self._while_struck("hang-mid-stream", roll)
                data = b"".join(self._news(answer, index, writer, sent) for index in range(len(sent)))
                if data:
                    await response.write(data)
                if finished:
                    break
                await answer.changed.wait()
                answer.changed.clear()
            counts = _usage(answer)
            writer.keep(self._kept, counts)
            tail = writer.usage(counts) if answer.call.include_usage else b""
            await response.write(tail + writer.end)
            await response.write_eof()
        except (ConnectionError, asyncio.IncompleteReadError):
            return response  # the client is gone
        return response

    def _news(self, answer: Answer, index: int, writer: Writer, sent: list[int]) -> bytes:
        """The frames of a choice that the client has not seen; empty when there is nothing new."""
        running = answer.choices[index]
        choice = running.choice
        if running.first_at is None or sent[index] > choice.visible:
            return b""
        opening = writer.role(choice) if sent[index] < 0 else b""
        start, shown = max(0, sent[index]), choice.shown(self._driver.generated(answer, index))
        sent[index] = choice.visible + 1 if running.done else shown
        if shown == start and not running.done:
            return opening
        return opening + writer.text(choice, choice.text[start:shown], running.done)

    async def _models(self, _: web.Request) -> web.Response:
        await self._while_struck("hang-all", 0.0)
        base, created = self._preset.model, self._started
        cards = [frames.model_card(base, created, base, None, self._preset.max_model_len)]
        cards += [
            frames.model_card(name, created, f"/adapters/{name}", base, None) for name in self._adapters
        ]
        return _json({"object": "list", "data": cards})

    async def _health(self, _: web.Request) -> web.Response:
        await self._while_struck("hang-all", 0.0)
        return web.Response()

    async def _version(self, _: web.Request) -> web.Response:
        await self._while_struck("hang-all", 0.0)
        return _json({"version": VERSION})

    async def _metrics(self, _: web.Request) -> web.Response:
        await self._while_struck("hang-all", 0.0)
        if self.faults.has("no-metrics"):
            raise web.HTTPNotFound
        page = self._stale_page if self.faults.has("stale-metrics") else self._page()
        return web.Response(
            body=page.encode(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    def _page(self) -> str:
        return self._driver.instruments.page(self._driver.engine, self._preset.model, _unix_time())

    async def _load_adapter(self, request: web.Request) -> web.Response:
        name = await _field(request, "lora_name")
        if not name or not self._settings.max_loras:
            reason = (
                "Both 'lora_name' and 'lora_path' must be provided." if not name else "LoRA is not enabled."
            )
            return self._failure(ApiError(400, reason, "InvalidUserInput"))
        if name in self._adapters:
            message = f"The lora adapter '{name}' has already been loaded."
            return self._failure(ApiError(400, message, "InvalidUserInput"))
        self._adapters[name] = None
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload_adapter(self, request: web.Request) -> web.Response:
        name = await _field(request, "lora_name")
        if name not in self._adapters:
            message = f"The lora adapter '{name}' cannot be found."
            return self._failure(ApiError(404, message, "NotFoundError"))
        del self._adapters[name]
        self._driver.engine.adapters.unload(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' removed successfully.")

    async def _sleep(self, _: web.Request) -> web.Response:
        """Weights leave the GPU and the KV cache is discarded; requests that come wait until it is woken."""
        self._driver.instruments.asleep = True
        self._driver.engine.cache.forget()
        return web.Response()

    async def _wake_up(self, _: web.Request) -> web.Response:
        self._driver.instruments.asleep = False
        async with self._healed:
            self._healed.notify_all()
        return web.Response()

    async def _is_sleeping(self, _: web.Request) -> web.Response:
        return _json({"is_sleeping": self._driver.instruments.asleep})

    async def _list_faults(self, _: web.Request) -> web.Response:
        return _json(self.describe())

    async def _post_fault(self, request: web.Request) -> web.Response:
        fault = read_fault_body(await request.read())
        if isinstance(fault, ApiError):
            return self._failure(fault)
        await self.apply(fault, spare=request.transport)
        response = _json(self.describe())
        if self.faults.has("crash"):
            response.force_close()
        return response

    def describe(self) -> dict[str, Any]:
        """Name, URL, model, adapters and faults in force."""
        return {
            "name": self.name,
            "url": self.url,
            "model": self._preset.model,
            "adapters": list(self._adapters),
            "faults": [msgspec.to_builtins(fault) for fault in self.faults.active],
        }

    def _failure(self, error: ApiError) -> web.Response:
        return web.Response(status=error.status, body=error.body(), content_type="application/json")

    async def _while_struck(self, kind: FaultKind, roll: float) -> None:
        """Hold the caller as long as a fault of this kind hits it."""
        if self.faults.strikes(kind, roll):
            async with self._healed:
                await self._healed.wait_for(lambda: not self.faults.strikes(kind, roll))


async def _field(request: web.Request, name: str) -> str:
    """A string of a JSON body; empty when it is not there."""
    try:
        value = msgspec.json.decode(await request.read(), type=dict[str, Any]).get(name)
    except msgspec.DecodeError:
        return ""
    return value if isinstance(value, str) else ""


def _usage(answer: Answer) -> dict[str, Any]:
    return frames.usage(answer.call.prompt_tokens, answer.generated_tokens, answer.cached_tokens)


def _json(value: Any) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")


def _unix_time() -> float:
    return datetime.now(UTC).timestamp()
