"""Envoy's gRPC access log of the errors that it gave by itself, read beside ADS.

A flood of them costs no more than `MESSAGES_A_SECOND` say: what comes beyond that is not looked at. Envoy
counts them all the same.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

import grpc
import grpc.aio

from headgate.io.bounded_log import BoundedLog
from headgate.model.own_answers import OwnAnswer
from headgate.wire.accesslog import read_own_answers

SERVICE = "envoy.service.accesslog.v3.AccessLogService"

MESSAGES_A_SECOND = 50
"""Of all Envoys together; one holds some 40 answers, or those of a fifth of a second. So many may come at
once, too."""

Take: TypeAlias = Callable[[str, Sequence[OwnAnswer]], None]
"""Told the data plane of an Envoy, and what it answered."""

EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"

log = logging.getLogger(__name__)
log.addFilter(BoundedLog())


def nobody(_dataplane: str, _answers: Sequence[OwnAnswer]) -> None:
    """Nobody wants to know."""


class Allowance:
    """So many a second, and as many at once."""

    def __init__(self, a_second: float) -> None:
        self._a_second = a_second
        self._left = a_second
        self._at: float | None = None

    def one(self, now: float) -> bool:
        """Whether one more may come at *now* (seconds); it is taken."""
        if self._at is not None:
            self._left = min(self._a_second, self._left + (now - self._at) * self._a_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


def handler(
    admitted: Callable[[str, Context], Awaitable[str | None]], take: Take
) -> "grpc.GenericRpcHandler[bytes, bytes]":
    """For `Server.add_generic_rpc_handlers`.

    *admitted*: id of an Envoy → its data plane, None where the call was refused. The first message says the
    id.
    """
    allowance = Allowance(MESSAGES_A_SECOND)

    async def stream(_messages: object, context: Context) -> bytes:
        now = asyncio.get_running_loop().time
        dataplane: str | None = None
        while True:
            data: Any = await context.read()
            if data is EOF:
                return b""
            if dataplane is not None and not allowance.one(now()):
                continue
            try:
                node, answers = read_own_answers(data)
            except ValueError as error:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            if dataplane is None:
                dataplane = await admitted(node, context)
                if dataplane is None:
                    return b""
            take(dataplane, answers)

    method = grpc.stream_unary_rpc_method_handler(stream)
    return grpc.method_handlers_generic_handler(SERVICE, {"StreamAccessLogs": method})
