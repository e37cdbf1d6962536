"""The picker's gRPC services: `ExternalProcessor/Process` and `AccessLogService/StreamAccessLogs`.

Bytes pass as they are: the messages are decoded and encoded in `wire`.
"""

import asyncio
import contextlib
import logging
from typing import Any, assert_never

import grpc
import grpc.aio

from headgate.io.bounded_log import BoundedLog
from headgate.io.extproc.hub import Hub
from headgate.model import headers as names
from headgate.model.ids import PoolKey, RequestId, StreamId
from headgate.picker.actions import Evict, ListModels, Reject, Route
from headgate.wire.accesslog import read_entries
from headgate.wire.extproc import Conversation, Settings, WireError
from headgate.wire.said import RequestArrived

EXT_PROC = "envoy.service.ext_proc.v3.ExternalProcessor"
ACCESS_LOG = "envoy.service.accesslog.v3.AccessLogService"

EOF: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in the stubs

log = logging.getLogger(__name__)
log.addFilter(BoundedLog())
logging.getLogger("grpc._cython.cygrpc").addFilter(BoundedLog())
"""Where grpc.aio tells of faults in its streams."""

Context = grpc.aio.ServicerContext[bytes, bytes]


class UnservedError(Exception):
    """Our own Envoy heard of the pool first: its failure mode decides, as if no picker were there."""


class Session:
    """One ext_proc stream: reads, lets the conversation and the machine answer, writes.

    An answer caused by another stream's event is written by a task of its own; only one of the two writes at
    any time, the other's bytes wait in the outbox.
    """

    __slots__ = (
        "_busy",
        "_context",
        "_fresh",
        "_hub",
        "_lean",
        "_left",
        "_link",
        "_named",
        "_pool",
        "_talk",
        "_wake",
        "_writer",
        "_writing",
        "stream",
    )

    def __init__(
        self,
        hub: Hub,
        settings: Settings,
        context: Context,
        pool: PoolKey | None,
        *,
        lean: bool,
        fallbacks: bool,
    ) -> None:
        """*pool* is None when the call named none: then the first message's attributes may."""
        self._hub = hub
        self._context = context
        self._link = context.peer()
        self._named = pool is not None
        self._lean = lean
        self._pool = hub.unnamed() if pool is None else pool
        self.stream = hub.enter(self, self._pool)
        self._talk = Conversation(
            settings, self.stream, lean=lean, fallbacks=fallbacks, sessions=hub.sessions
        )
        self._writing = False
        self._busy = False
        self._left = False
        self._fresh = True
        self._writer: asyncio.Task[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        """Ends the wait for the peer's next message, when a late answer ends the stream."""

    def act(self, action: Route | Reject | Evict | ListModels) -> None:
        """The machine's answer to this stream's request."""
        match action:
            case Route():
                summary = action.decision.summary()
                self._talk.route(
                    action.endpoints, action.target_model, summary, action.headers, stays=action.stays
                )
            case Reject():
                self._talk.refuse(action.status, action.reason, action.message, action.retry_after_s)
            case Evict():
                ended = self._talk.evict(action.message, action.retry_after_s)
                if ended is None:
                    return
                asyncio.get_running_loop().call_soon(self._hub.tell, self._pool, ended)
            case ListModels():
                self._talk.list_models(action.models)
            case _:
                assert_never(action)
        self._answered()

    def wait(self, stream: StreamId) -> None:
        """See `hub.Peer`."""
        self._talk.wait()

    def unserved(self, stream: StreamId, pool: PoolKey, request_id: RequestId) -> None:
        """See `hub.Peer`."""
        self._talk.refuse(503, "unknown-pool", self._unknown(), None)
        self._answered()

    def _answered(self) -> None:
        if not self._busy and self._wake is not None and self._talk.leaving:
            if not self._wake.done():
                self._wake.set_result(None)
        elif not self._busy and not self._writing:
            self._writer = asyncio.get_running_loop().create_task(self._flush_later())

    async def _flush(self) -> None:
        if self._writing:
            return
        self._writing = True
        outbox = self._talk.outbox
        try:
            while outbox:
                await self._context.write(outbox.popleft())
        finally:
            self._writing = False

    async def _flush_later(self) -> None:
        with contextlib.suppress(grpc.aio.UsageError, grpc.aio.InternalError):  # the peer has gone meanwhile
            await self._flush()

    def _take(self, data: bytes) -> bool:
        """Hears one message; whether the stream is to be left once the outbox is written."""
        self._busy = True
        try:
            said = self._talk.receive(data)
            if self._fresh and not self._named:
                self._find_pool()
            if self._fresh and self._lean and not self._hub.serves(self._pool):
                self._talk.refuse_stream(503, "unknown-pool", self._unknown())
                raise UnservedError(self._unknown())
            asks = self._fresh or any(isinstance(one, RequestArrived) for one in said)
            self._fresh = False
            if asks and not self._hub.serves(self._pool):
                self._talk.refuse_stream(503, "unknown-pool", self._unknown())
                return True
            for one in said:
                self._hub.tell(self._pool, one)
        finally:
            self._busy = False
        if self._talk.leaving and self._talk.awaits_log():
            self._leave()
        return self._talk.leaving

    def _find_pool(self) -> None:
        for name in self._talk.pool_names:
            if self._hub.serves(pool := PoolKey(name)):
                self._pool = pool
                self._hub.move(self.stream, pool)
                return

    def _unknown(self) -> str:
        return f"pool {self._pool} is not known to this picker" if self._pool else "no pool was named"

    def _leave(self) -> None:
        if not self._left:
            self._left = True
            self._hub.leave(self.stream, self._pool, self._link)

    async def _read_or_leave(self) -> Any:
        """The peer's next message, EOF, or None when the machine's late answer ends the stream."""
        self._wake = wake = asyncio.get_running_loop().create_future()
        reading = asyncio.ensure_future(self._context.read())
        try:
            await asyncio.wait((reading, wake), return_when=asyncio.FIRST_COMPLETED)
            return None if wake.done() else await reading
        finally:
            self._wake = None
            reading.cancel()

    async def run(self) -> None:
        """Until the peer closes the stream or the conversation leaves it."""
        leaving = False
        talk, read = self._talk, self._context.read
        try:
            while not leaving:
                data: Any = await (self._read_or_leave() if talk.hears else read())
                if data is None:
                    await self._flush()
                    break
                if data is EOF:
                    break
                leaving = self._take(data)
                await self._flush()
                leaving = leaving or talk.leaving  # an answer may have come while these were written
        finally:
            if talk.awaits_log():
                self._leave()
            untold = self._hub.forget(self.stream)
            over = talk.closed()
            if over is not None and untold:
                self._hub.tell(self._pool, over)
            if self._writer is not None:
                self._writer.cancel()


class GrpcServices:
    """Both services around one hub."""

    def __init__(self, hub: Hub, settings: Settings) -> None:
        self._hub = hub
        self._settings = settings

    def handlers(self) -> "tuple[grpc.GenericRpcHandler[bytes, bytes], ...]":
        """For `Server.add_generic_rpc_handlers`."""
        process = grpc.stream_stream_rpc_method_handler(self._process)
        logs = grpc.stream_unary_rpc_method_handler(self._access_logs)
        return (
            grpc.method_handlers_generic_handler(EXT_PROC, {"Process": process}),
            grpc.method_handlers_generic_handler(ACCESS_LOG, {"StreamAccessLogs": logs}),
        )

    async def _process(self, _requests: object, context: Context) -> None:
        pool: PoolKey | None = None
        lean = fallbacks = False
        for key, value in context.invocation_metadata() or ():
            if key == names.POOL:
                pool = PoolKey(str(value))
            elif key == names.LEAN:
                lean = value == "1"
            elif key == names.FALLBACKS:
                fallbacks = value == "1"
        try:
            session = Session(self._hub, self._settings, context, pool, lean=lean, fallbacks=fallbacks)
            await session.run()
        except UnservedError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
        except WireError as error:
            log.warning("ext_proc stream failed: %s", error)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    async def _access_logs(self, _messages: object, context: Context) -> bytes:
        link = context.peer()
        self._hub.log_opened(link)
        try:
            while True:
                data: Any = await context.read()
                if data is EOF:
                    return b""
                try:
                    told = read_entries(data, self._settings.keys)
                except ValueError as error:
                    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
                if told.node is not None:
                    self._hub.log_node(link, f"{told.node}@{link.rpartition(':')[0]}")
                for ended in told.ended:
                    self._hub.logged(ended)
        finally:
            self._hub.log_closed(link)
