"""Starts and stops the picker's gRPC ports."""

import asyncio
import contextlib
from pathlib import Path

import grpc
import grpc.aio

from headgate.io.extproc.health import Health
from headgate.io.extproc.native import IDLE_S, PING_S
from headgate.io.extproc.service import GrpcServices
from headgate.io.unix import private_socket

OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 1_000_000),
    ("grpc.max_metadata_size", 64 << 10),
    ("grpc.absolute_max_metadata_size", 64 << 10),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
    # Only identity: the native wire reads no compressed messages either.
    ("grpc.compression_enabled_algorithms_bitset", 1),
)
"""One Envoy holds all its requests as streams of a few connections, and pings when idle.

Windows do not grow with the line's speed: what a peer that does not read can send stays small. A peer that is
silent is pinged, and gone when it does not answer; gRPC has TCP give up what is not acknowledged by then.
"""

UNLIMITED = -1
DRAINING_S = 86_400.0
"""A drain ends by `GrpcPorts.stop`, long before this."""


class GrpcPorts:
    """The main port (ext_proc, access log, health) and the health port, both listening."""

    def __init__(
        self, main: grpc.aio.Server, health: grpc.aio.Server | None, port: int, health_port: int
    ) -> None:
        self._main = main
        self._servers = [server for server in (main, health) if server is not None]
        self._draining: asyncio.Task[None] | None = None
        self.port = port
        """Where ext_proc is served; 0 for a Unix socket."""
        self.health_port = health_port
        """Where health alone is served; 0 when it is not."""

    def drain(self) -> None:
        """Takes no new stream on the main port, and tells peers; open ones go on, and the health port."""
        if self._draining is None:
            self._draining = asyncio.create_task(self._main.stop(DRAINING_S))

    async def stop(self, grace_s: float) -> None:
        """Takes no new stream; open ones may go on for *grace_s* seconds."""
        for server in self._servers:
            await server.stop(grace_s)
        if self._draining is not None:
            await self._draining


async def listen(
    services: GrpcServices,
    health: Health,
    *,
    host: str,
    port: int,
    health_port: int | None,
    credentials: grpc.ServerCredentials | None = None,
    max_receive_bytes: int = UNLIMITED,
    path: Path | None = None,
    ping_s: float = PING_S,
    idle_s: float = IDLE_S,
) -> GrpcPorts:
    """Opens both ports on *host*. Port 0 means any free one; *health_port* None means none.

    *path*: a Unix socket of mode 600 in place of the main port. Raises RuntimeError when a port cannot be
    bound, OSError when *path* cannot. *ping_s* and *idle_s*: see `native.Limits`.
    """
    address = f"[{host}]" if ":" in host else host
    options = (
        *OPTIONS,
        ("grpc.keepalive_time_ms", round(ping_s * 1000)),
        ("grpc.keepalive_timeout_ms", round(2 * ping_s * 1000)),
        ("grpc.http2.ping_timeout_ms", round(2 * ping_s * 1000)),
        ("grpc.max_connection_idle_ms", round(idle_s * 1000)),
    )
    main = grpc.aio.server(options=(*options, ("grpc.max_receive_message_length", max_receive_bytes)))
    main.add_generic_rpc_handlers((*services.handlers(), health.handler()))
    where = f"{address}:{port}" if path is None else f"unix:{path}"
    with contextlib.nullcontext() if path is None else private_socket(path):
        if credentials is None:
            bound = main.add_insecure_port(where)
        else:
            bound = main.add_secure_port(where, credentials)
    second: grpc.aio.Server | None = None
    bound_health = 0
    if health_port is not None:
        second = grpc.aio.server(options=options)
        second.add_generic_rpc_handlers((health.handler(),))
        bound_health = second.add_insecure_port(f"{address}:{health_port}")
        await second.start()
    await main.start()
    return GrpcPorts(main, second, bound if path is None else 0, bound_health)
