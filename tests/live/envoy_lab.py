"""A real Envoy with a translated configuration inlined, a scripted picker and scripted model servers."""

import asyncio
import contextlib
import json
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import envoy as envoy_messages
import grpc
from aiohttp import web
from envoy.config.core.v3 import base_pb2
from envoy.service.accesslog.v3 import als_pb2
from envoy.service.ext_proc.v3 import external_processor_pb2 as ext_proc

from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import Translation, translate
from headgate.model import headers
from headgate.model.decode import decode
from headgate.model.snapshot import Snapshot

BIG_BYTES = 3 << 19
"""Length of a `big` answer: above the 1 MiB that Envoy buffers by default."""

BINARY = Path(next(iter(envoy_messages.__path__))) / "_bin" / "envoy"


def free_port() -> int:
    """A TCP port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def snapshot(*objects: Mapping[str, Any]) -> Snapshot:
    """A snapshot of plain manifests, all of which must be right."""
    decoded = [decode(each, "test.yaml", lambda _: 0) for each in objects]
    assert not [str(problem) for each in decoded for problem in each.problems]
    return Snapshot(tuple(each.object for each in decoded if each.object is not None))


def bootstrap(translation: Translation, admin_port: int) -> dict[str, Any]:
    """A static bootstrap: what ADS would deliver is written where it is asked for."""
    resources = json.loads(json.dumps(translation.resources))
    for listener in resources["listener"].values():
        manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
        manager["route_config"] = resources["route"][manager.pop("rds")["route_config_name"]]
    for name, cluster in resources["cluster"].items():
        if cluster["type"] == "EDS":
            del cluster["eds_cluster_config"]
            cluster |= {"type": "STATIC", "load_assignment": resources["endpoint"][name]}
    return {
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
        "static_resources": {
            "listeners": list(resources["listener"].values()),
            "clusters": list(resources["cluster"].values()),
        },
    }


@contextlib.asynccontextmanager
async def running_envoy(found: Snapshot, settings: GatewaySettings, folder: Path) -> AsyncIterator[str]:
    """The gateway's URL while Envoy runs the snapshot's configuration."""
    admin = free_port()
    config = folder / "bootstrap.json"
    config.write_text(json.dumps(bootstrap(translate(found, settings), admin)))
    process = _start(config, folder / "envoy.log")
    try:
        await _ready(admin, process, folder / "envoy.log")
        yield f"http://127.0.0.1:{settings.port}"
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


def _start(config: Path, log: Path) -> subprocess.Popen[bytes]:
    command = [str(BINARY), "-c", str(config), "--use-dynamic-base-id", "--concurrency", "1", "-l", "warning"]
    with log.open("wb") as sink:
        return subprocess.Popen(command, stdout=sink, stderr=sink)


async def _ready(admin: int, process: subprocess.Popen[bytes], log: Path) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            if process.poll() is not None:
                break
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(f"http://127.0.0.1:{admin}/ready") as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise AssertionError(await asyncio.to_thread(log.read_text))


class ModelServer:
    """A model server that does as it is told by `mode`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mode = "json"
        self.seen: list[dict[str, str]] = []
        self.bodies: list[int] = []

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["ModelServer"]:
        """Serve until the block ends."""
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append({key.lower(): value for key, value in request.headers.items()})
        self.bodies.append(len(await request.read()))
        forged = {headers.DECISION: "forged-by-server", headers.ENDPOINT: "forged-by-server"}
        usage = {"prompt_tokens": 7, "completion_tokens": 8, "prompt_tokens_details": {"cached_tokens": 4}}
        match self.mode:
            case "503":
                return web.json_response({"error": {"message": "busy"}}, status=503)
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                raise web.HTTPInternalServerError
            case "big":
                return web.json_response({"data": "x" * BIG_BYTES, "usage": usage})
            case "sse":
                response = web.StreamResponse(headers={"content-type": "text/event-stream"})
                await response.prepare(request)
                for index in range(8):
                    await response.write(b'data: {"choices":[{"delta":{"content":"t%d"}}]}\n\n' % index)
                    await asyncio.sleep(0.01)
                end = (
                    b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"
                )
                await response.write(end[:30])
                await response.write(end[30:])
                await response.write_eof()
                return response
            case _:
                return web.json_response({"port": self.port, "usage": usage}, headers=forged)


class Picker:
    """An ext_proc and access-log server that picks `endpoints`, refuses, hangs or waits as told by `mode`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.mode = "pick"
        self.endpoints: list[str] = []
        self.messages: list[tuple[str, Any]] = []
        self.initial: list[dict[str, str]] = []
        self.log: asyncio.Queue[Any] = asyncio.Queue()
        self._server: grpc.aio.Server

    @property
    def address(self) -> str:
        """`ip:port`."""
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Picker"]:
        """Serve until the block ends."""
        server = grpc.aio.server(options=[("grpc.max_receive_message_length", 100 << 20)])
        handlers = {
            "envoy.service.ext_proc.v3.ExternalProcessor": {
                "Process": grpc.stream_stream_rpc_method_handler(
                    self._process, ext_proc.ProcessingRequest.FromString, _serialize
                )
            },
            "envoy.service.accesslog.v3.AccessLogService": {
                "StreamAccessLogs": grpc.stream_unary_rpc_method_handler(
                    self._access_log, als_pb2.StreamAccessLogsMessage.FromString, _serialize
                )
            },
        }
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(name, methods) for name, methods in handlers.items())
        )
        server.add_insecure_port(self.address)
        await server.start()
        self._server = server
        try:
            yield self
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Die at once."""
        await self._server.stop(None)

    async def _access_log(self, messages: Any, context: Any) -> Any:
        async for message in messages:
            for entry in message.http_logs.log_entry:
                self.log.put_nowait(entry)
        return als_pb2.StreamAccessLogsResponse()

    async def _process(self, messages: Any, context: Any) -> Any:
        self.initial.append(dict(context.invocation_metadata()))
        if self.mode == "duplex":
            async for answer in self._duplex(messages):
                yield answer
            return
        async for message in messages:
            kind = message.WhichOneof("request")
            self.messages.append((kind, message))
            if self.mode == "hang":
                await asyncio.sleep(3600)
            if kind == "request_headers":
                yield (
                    self._pick("request_headers")
                    if message.request_headers.end_of_stream
                    else (ext_proc.ProcessingResponse(request_headers=ext_proc.HeadersResponse()))
                )
            elif kind == "request_body":
                if self.mode == "wait":
                    extended = ext_proc.ProcessingResponse()
                    extended.override_message_timeout.FromSeconds(5)
                    yield extended
                    await asyncio.sleep(1.2)
                yield self._pick("request_body")
            elif kind == "response_headers":
                yield ext_proc.ProcessingResponse(response_headers=ext_proc.HeadersResponse())
            else:
                yield ext_proc.ProcessingResponse(response_body=ext_proc.BodyResponse())
                return

    async def _duplex(self, messages: Any) -> AsyncIterator[ext_proc.ProcessingResponse]:
        """As foreign pickers do: hold the headers until the body is whole, then give every byte back."""
        held: list[bytes] = []
        async for message in messages:
            kind = message.WhichOneof("request")
            self.messages.append((kind, message))
            answer = ext_proc.ProcessingResponse()
            if kind == "request_headers":
                if message.request_headers.end_of_stream:
                    yield self._pick(kind)
            elif kind == "request_body":
                held.append(message.request_body.body)
                if message.request_body.end_of_stream:
                    yield self._pick("request_headers")
                    whole = b"".join(held)
                    for start in range(0, len(whole), 62000):
                        part = ext_proc.ProcessingResponse()
                        streamed = part.request_body.response.body_mutation.streamed_response
                        streamed.body = whole[start : start + 62000]
                        streamed.end_of_stream = start + 62000 >= len(whole)
                        yield part
            elif kind == "response_headers":
                answer.response_headers.SetInParent()
                yield answer
            elif kind == "response_body":
                streamed = answer.response_body.response.body_mutation.streamed_response
                streamed.body = message.response_body.body
                streamed.end_of_stream = message.response_body.end_of_stream
                yield answer
            else:
                getattr(answer, kind).SetInParent()
                yield answer

    def _pick(self, kind: str) -> ext_proc.ProcessingResponse:
        if self.mode == "refuse":
            refusal = ext_proc.ProcessingResponse()
            refusal.immediate_response.status.code = 429
            refusal.immediate_response.body = b'{"error":{"message":"from the picker"}}'
            added = refusal.immediate_response.headers.set_headers
            added.add().header.CopyFrom(_header("content-type", "application/json"))
            added.add().header.CopyFrom(_header(headers.REASON, "saturated"))
            return refusal
        answer = ext_proc.ProcessingResponse()
        text = ",".join(self.endpoints)
        common = getattr(answer, kind).response
        common.header_mutation.set_headers.add().header.CopyFrom(_header(headers.DESTINATION, text))
        answer.dynamic_metadata.update(
            {
                headers.LB_NAMESPACE: {headers.DESTINATION: text},
                headers.OWN_NAMESPACE: {"stream": "s1", "decision": "picked by script"},
            }
        )
        return answer


def _header(key: str, value: str) -> base_pb2.HeaderValue:
    return base_pb2.HeaderValue(key=key, raw_value=value.encode())


def _serialize(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
