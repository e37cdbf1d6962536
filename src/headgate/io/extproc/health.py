"""The gRPC health service, `Check` and `Watch`. Its messages have one field each and are written out here."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio

SERVICES = (
    "",
    "liveness",
    "readiness",
    "inference-extension",
    "envoy.service.ext_proc.v3.ExternalProcessor",
)
"""Known names. `liveness` says that the process runs; the others that requests should come here."""

SERVING = b"\x08\x01"
NOT_SERVING = b"\x08\x02"
UNKNOWN = b"\x08\x03"

Context = grpc.aio.ServicerContext[bytes, bytes]


def service_name(request: bytes) -> str:
    """`HealthCheckRequest.service` (field 1); raises ValueError for other bytes."""
    if not request:
        return ""
    if request[0] != 0x0A or len(request) < 2 or request[1] >= 0x80 or len(request) != 2 + request[1]:
        raise ValueError("not a HealthCheckRequest with a short service name")
    return request[2:].decode()


class Health:
    """Ready or not, and who wants to know when that changes."""

    def __init__(self) -> None:
        self._ready = False
        self._changed = asyncio.Condition()

    @property
    def ready(self) -> bool:
        """Whether requests should come here."""
        return self._ready

    async def set_ready(self, ready: bool) -> None:
        """Changes the answer and tells all watchers."""
        async with self._changed:
            self._ready = ready
            self._changed.notify_all()

    async def changes(self) -> AsyncIterator[bool]:
        """Whether requests should come here: now, and at every change."""
        ready = self._ready
        while True:
            yield ready
            async with self._changed:
                while self._ready == ready:
                    await self._changed.wait()
                ready = self._ready

    def status(self, service: str) -> bytes:
        """The `HealthCheckResponse` for a service name."""
        if service not in SERVICES:
            return UNKNOWN
        return SERVING if self._ready or service == "liveness" else NOT_SERVING

    def handler(self) -> "grpc.GenericRpcHandler[bytes, bytes]":
        """For `Server.add_generic_rpc_handlers`."""
        return grpc.method_handlers_generic_handler(
            "grpc.health.v1.Health",
            {
                "Check": grpc.unary_unary_rpc_method_handler(self._check),
                "Watch": grpc.unary_stream_rpc_method_handler(self._watch),
            },
        )

    async def _check(self, request: bytes, context: Context) -> bytes:
        status = self.status(await _name(request, context))
        if status == UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return status

    async def _watch(self, request: bytes, context: Context) -> None:
        name = await _name(request, context)
        said: bytes | None = None
        while True:
            async with self._changed:
                while (status := self.status(name)) == said:
                    await self._changed.wait()
            said = status
            await context.write(status)


async def _name(request: bytes, context: Any) -> str:
    try:
        return service_name(request)
    except ValueError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        raise
