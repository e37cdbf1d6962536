"""Backends that answer with what they were asked, and the objects that lead to them."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
from aiohttp import web
from tests.manifests import Manifest


@asynccontextmanager
async def echoing(name: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """An HTTP server that answers JSON: name, method, path, host, headers, subject of the client's certificate.
    Its port."""

    async def answer(request: web.Request) -> web.Response:
        shown: Any = request.transport.get_extra_info("peercert") if request.transport is not None else None
        status = int(request.query.get("status", "200"))
        return web.json_response(
            {
                "name": name,
                "method": request.method,
                "path": request.path_qs,
                "host": request.host,
                "headers": {key.lower(): value for key, value in request.headers.items()},
                "client": dict(part[0] for part in shown["subject"]) if shown else None,
            },
            status=status,
        )

    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


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
