"""The fleet: its replicas and the control port, in one process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
from aiohttp import web

from headgate.io.fleet.api import ApiError
from headgate.io.fleet.control import read_replica_fault
from headgate.io.fleet.faults import Fault
from headgate.io.fleet.replica import Replica
from headgate.io.fleet.settings import FleetSettings, engine_preset
from headgate.io.fleet.sockets import base_url, bind


class PortTakenError(Exception):
    """A port that the fleet was told to use is in use; the message names it."""


class Fleet:
    """Running replicas. Made by `running_fleet`."""

    def __init__(self, replicas: tuple[Replica, ...], control_url: str) -> None:
        self.replicas = replicas
        self.control_url = control_url

    @property
    def urls(self) -> tuple[str, ...]:
        """Base URLs, in replica order."""
        return tuple(replica.url for replica in self.replicas)

    async def fault(self, replica: int, fault: Fault) -> None:
        """Put *fault* in force on one replica. Raises OSError when a crashed one finds its port taken."""
        await self.replicas[replica].apply(fault)


@asynccontextmanager
async def running_fleet(settings: FleetSettings) -> AsyncIterator[Fleet]:
    """A fleet that answers while the context is open; leaving it drains for at most `settings.drain_s`.

    Raises ValueError for settings that cannot work and PortTakenError for a port in use.
    """
    engine_preset(settings)
    async with AsyncExitStack() as stack:
        sockets = []
        for port in _ports(settings):
            sockets.append(_bind(settings.host, port))
            stack.callback(sockets[-1].close)
        replicas = tuple(Replica(settings, index, sock) for index, sock in enumerate(sockets[1:]))
        control = web.AppRunner(_control(replicas), access_log=None, shutdown_timeout=1.0)
        stack.push_async_callback(control.cleanup)
        stack.push_async_callback(_close_all, replicas)
        for replica in replicas:
            await replica.start()
        control_port: int = sockets[0].getsockname()[1]
        await control.setup()
        await web.SockSite(control, sockets[0]).start()
        for index, fault in settings.faults:
            await replicas[index].apply(fault)
        yield Fleet(replicas, base_url(settings.host, control_port))


def _ports(settings: FleetSettings) -> list[int]:
    """The control port, then the replicas'."""
    base = settings.port_base
    control = settings.control_port
    if control is None:
        control = base - 1 if base > 1 else 0
    return [control, *(base + i if base else 0 for i in range(settings.replicas))]


def _bind(host: str, port: int) -> socket.socket:
    try:
        return bind(host, port)
    except (OSError, OverflowError) as problem:
        raise PortTakenError(f"cannot listen on {base_url(host, port)}: {problem}") from problem


async def _close_all(replicas: tuple[Replica, ...]) -> None:
    await asyncio.gather(*(replica.close() for replica in replicas))


def _control(replicas: tuple[Replica, ...]) -> web.Application:
    """`GET /fault` lists all replicas; `POST /fault` takes a fault and `replica`: its number or name."""

    async def show(_: web.Request) -> web.Response:
        body = msgspec.json.encode([replica.describe() for replica in replicas])
        return web.Response(body=body, content_type="application/json")

    async def post(request: web.Request) -> web.Response:
        named = read_replica_fault(await request.read(), [replica.name for replica in replicas])
        if isinstance(named, ApiError):
            return web.Response(status=named.status, body=named.body(), content_type="application/json")
        replica, fault = replicas[named[0]], named[1]
        await replica.apply(fault)
        return web.Response(body=msgspec.json.encode(replica.describe()), content_type="application/json")

    app = web.Application()
    app.router.add_get("/fault", show)
    app.router.add_post("/fault", post)
    return app
