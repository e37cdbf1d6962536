"""What the picker shows over HTTP: health, status and decisions for admins, metrics on their own port."""

import ssl
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web

from headgate.app.picker.decision_log import DecisionLog
from headgate.io.unix import private_socket
from headgate.io.web.admin import is_loopback, loopback_names_only
from headgate.io.web.metrics import PickerMetrics, resident_bytes
from headgate.model.ids import RequestId
from headgate.model.printable import printable_json
from headgate.model.problems import Problem
from headgate.picker.view import PoolView

MOST_DECISIONS = 1000
"""Records in one answer."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """The picker now."""

    version: str
    ready: bool
    draining: bool
    policy: str
    wire: str
    grpc_port: int
    health_port: int
    metrics_port: int
    admin_port: int
    open_streams: int
    left_streams: int
    pools: tuple[PoolView, ...]
    problems: tuple[Problem, ...]
    resident_bytes: int = msgspec.field(default_factory=resident_bytes)


def _json(value: object, status: int = 200) -> web.Response:
    body = printable_json(msgspec.json.encode(value)).encode()
    return web.Response(body=body, status=status, content_type="application/json")


def admin_app(status: Callable[[], Status], decisions: DecisionLog) -> web.Application:
    """`/healthz /readyz /v1/status /v1/decisions /v1/decisions/last /v1/decisions/{request_id}`, all GET."""

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        ready = status().ready
        return web.Response(text="ok\n" if ready else "not ready\n", status=200 if ready else 503)

    async def show_status(_: web.Request) -> web.Response:
        return _json(status())

    async def newest(request: web.Request) -> web.Response:
        text = request.query.get("limit", "100")
        if not (text.isascii() and text.isdigit()):
            return _json({"error": "limit must be a number"}, 400)
        limit = min(int(text[:9]), MOST_DECISIONS)
        match request.query.get("order"):
            case None:
                return _json(decisions.last(limit))
            case "recent":
                return _json(decisions.recent(limit))
            case "slowest":
                return _json(decisions.slowest(limit))
            case _:
                return _json({"error": "order must be recent or slowest"}, 400)

    async def last(_: web.Request) -> web.Response:
        found = decisions.last(1)
        return _json(found[0]) if found else _json({"error": "no decision yet"}, 404)

    async def one(request: web.Request) -> web.Response:
        found = decisions.find(RequestId(request.match_info["request_id"]))
        if found is None:
            return _json({"error": "no decision of this request id is remembered"}, 404)
        return _json(found)

    app = web.Application(middlewares=[loopback_names_only])
    app.add_routes(
        [
            web.get("/healthz", healthz),
            web.get("/readyz", readyz),
            web.get("/v1/status", show_status),
            web.get("/v1/decisions", newest),
            web.get("/v1/decisions/last", last),
            web.get("/v1/decisions/{request_id}", one),
        ]
    )
    return app


def metrics_app(metrics: PickerMetrics, host: str) -> web.Application:
    """`/metrics`, served at the address *host*. On loopback no page of somebody else's name may read it."""

    async def page(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.page(),
            headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    app = web.Application(middlewares=[loopback_names_only] if is_loopback(host) else [])
    app.add_routes([web.get("/metrics", page)])
    return app


class Site(msgspec.Struct, frozen=True):
    """An application being served."""

    runner: web.AppRunner
    port: int = 0

    async def close(self) -> None:
        """Stops serving."""
        await self.runner.cleanup()


async def serve_tcp(app: web.Application, host: str, port: int, tls: ssl.SSLContext | None = None) -> Site:
    """Serves *app*; port 0 means any free one. Raises OSError when it cannot be bound."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    try:
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return Site(runner, runner.addresses[0][1])


async def serve_unix(app: web.Application, path: Path) -> Site:
    """Serves *app* on a Unix socket of mode 600, replacing one left by a dead process. Raises OSError."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        with private_socket(path):
            await web.UnixSite(runner, str(path)).start()
    except OSError:
        await runner.cleanup()
        raise
    return Site(runner)
