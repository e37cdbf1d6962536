"""Backends that answer with what they were asked, and the objects that lead to them."""

import asyncio
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from aiohttp import web
from multidict import CIMultiDictProxy
from tests.manifests import Manifest


class Seen(list[dict[str, Any]]):
    """What a backend was asked, in its order."""


@asynccontextmanager
async def echoing(
    name: str,
    tls: ssl.SSLContext | None = None,
    seen: Seen | None = None,
    answers: Mapping[str, str] | None = None,
) -> AsyncIterator[int]:
    """An HTTP server that answers JSON: name, method, path, host, headers, length of the body, subject of the client's certificate;
    and WebSockets, message by message. Its port.

    *seen* gets the same; *answers* are headers of every answer. Parameters of a request: `status`, which is
    answered the first `times` times that its path and query are seen (always without `times`); `sleep_s`.
    """
    counted: Counter[str] = Counter()

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.headers.get("upgrade", "").lower() == "websocket":
            return await _echo_messages(request, name)
        shown: Any = request.transport.get_extra_info("peercert") if request.transport is not None else None
        counted[request.path_qs] += 1
        status = int(request.query.get("status", "200"))
        if counted[request.path_qs] > int(request.query.get("times", "1000000")):
            status = 200
        elif "sleep_s" in request.query:
            await asyncio.sleep(float(request.query["sleep_s"]))
        told = {
            "name": name,
            "method": request.method,
            "path": request.path_qs,
            "host": request.host,
            "headers": joined(request.headers),
            "bytes": len(await request.read()),
            "client": dict(part[0] for part in shown["subject"]) if shown else None,
        }
        if seen is not None:
            seen.append(told)
        return web.json_response(told, status=status, headers=answers)

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


def joined(headers: CIMultiDictProxy[str]) -> dict[str, str]:
    """By small letters; several lines of one name are one value, with commas."""
    return {key.lower(): ",".join(headers.getall(key)) for key in headers}


async def _echo_messages(request: web.Request, name: str) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_str(f"{name} {message.data}")
    return socket


@asynccontextmanager
async def grpc_echoing(name: str) -> AsyncIterator[int]:
    """A gRPC server whose every unary method answers *name*, a space and the request. Its port."""

    async def answer(request: bytes, context: Any) -> bytes:
        return name.encode() + b" " + request

    class EveryMethod(grpc.GenericRpcHandler):  # type: ignore[type-arg]
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((EveryMethod(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(0)


def service(name: str, port: int, **more: Any) -> list[Manifest]:
    """A Service with port 80 that is answered at loopback's *port*; *more* goes into the Service's port."""
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"ports": [{"name": "main", "port": 80, **more}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"name": "main", "port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"]}],
        },
    ]
