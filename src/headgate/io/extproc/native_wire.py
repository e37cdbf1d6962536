"""One native server in front of a hub: its rows are events for the machines, their actions its answers."""

import asyncio
import logging
import socket
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, assert_never

from headgate.io.bounded_log import BoundedLog
from headgate.io.extproc.health import Health
from headgate.io.extproc.hub import Hub
from headgate.io.extproc.native import Limits
from headgate.io.extproc.tls import Certificates, Material
from headgate.io.unix import private_socket, remove_socket
from headgate.model.ids import PoolKey, RequestId, StreamId
from headgate.model.requests import InferenceRequest
from headgate.picker.actions import Evict, ListModels, Reject, Route
from headgate.picker.events import AnswerStored, FirstToken, RequestArrived, RequestEnded, ResponseStarted
from headgate.wire import answers
from headgate.wire.api import BadRequest
from headgate.wire.digest import digest
from headgate.wire.extproc import EVICTED_STATUS, Settings
from headgate.wire.native import Row, logged, native_settings, request_of, session_lists, usage_of
from headgate.wire.numbers import cut
from headgate.wire.parse import LONGEST_ID, understand

log = logging.getLogger(__name__)
log.addFilter(BoundedLog())


class NativeWire:
    """One native server in front of a hub; the peer of all its streams."""

    def __init__(self, module: ModuleType, hub: Hub, settings: Settings, limits: Limits) -> None:
        self._hub = hub
        self._settings = settings
        self._server: Any = module.Server(
            native_settings(settings),
            threads=limits.threads,
            max_connections=limits.connections,
            max_streams=limits.streams,
            max_message_bytes=limits.message_bytes,
            backlog=limits.backlog,
            ping_s=limits.ping_s,
            idle_s=limits.idle_s,
        )
        self._out: list[tuple[Any, ...]] = []
        self._taking = False
        self._listing: dict[StreamId, str] = {}
        """Request ids of the streams that wait for a list of models."""
        self._read: dict[StreamId, tuple[str | None, bool]] = {}
        """Model and streaming of waiting requests whose bodies were read in Python."""
        self._certificates: Certificates | None = None
        self._asking = (module.ARRIVED, module.UNREAD, module.TOO_LARGE, module.UNKNOWN_POOL)
        """Rows whose streams wait for an answer."""
        self._take: dict[int, Callable[[Row], None]] = {
            module.ARRIVED: self._arrived,
            module.UNREAD: self._unread,
            module.TOO_LARGE: self._too_large,
            module.UNKNOWN_POOL: self._unknown_pool,
            module.STARTED: self._started,
            module.FIRST_TOKEN: self._first_token,
            module.OVER: self._over,
            module.STORED: self._stored,
            module.LEFT: self._left,
            module.CLOSED: self._closed,
            module.LOGGED: self._logged,
            module.LOG_OPENED: lambda row: self._hub.log_opened(row[1]),
            module.LOG_NODE: lambda row: self._hub.log_node(row[1], row[2]),
            module.LOG_CLOSED: lambda row: self._hub.log_closed(row[1]),
            module.LINK_CLOSED: lambda row: self._hub.link_closed(row[1]),
            module.WARNING: lambda row: log.warning("%s", row[1]),
        }

    def start(
        self,
        host: str,
        port: int,
        health_port: int | None,
        certificates: Certificates | None,
        path: Path | None = None,
    ) -> "NativePorts":
        """Opens the main port and the health port (None: none) and begins to listen to events.

        *path*: a Unix socket of mode 600 in place of the main port. Raises OSError when one of them cannot be
        bound, ValueError for certificates that cannot be used.
        """
        if certificates is not None:
            self._certificates = certificates
            self._certify(certificates.files.current)
            if certificates.reload:
                certificates.files.follow(self._certify)
        self._hub.watch_pools(self._pools_changed)
        self._hub.count_streams = lambda: int(self._server.counters()["streams"])
        asyncio.get_running_loop().add_reader(self._server.fileno(), self._wake)
        address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]
        bound = 0
        if path is None:
            bound = self._server.listen(address, port)
        else:
            with private_socket(path):
                self._server.listen_unix(path)
        health = self._server.listen(address, health_port, health_only=True) if health_port is not None else 0
        return NativePorts(self, bound, health, path)

    async def follow(self, health: Health) -> None:
        """Passes readiness on, for ever."""
        async for ready in health.changes():
            self._server.set_ready(ready)

    def counters(self) -> dict[str, int]:
        """The transport's numbers: connections, streams, events, batches, panics."""
        found: dict[str, int] = self._server.counters()
        return found

    def drain(self) -> None:
        """Takes no new stream on the main port; open ones go on."""
        self._server.drain()

    def stop(self, grace_s: float) -> None:
        """Ends everything still open, within *grace_s* seconds."""
        asyncio.get_running_loop().remove_reader(self._server.fileno())
        if self._certificates is not None:
            self._certificates.files.stop()
        self._server.stop(grace_s)

    # ---- events in, answers out

    def _wake(self) -> None:
        self._taking = True
        take = self._take
        try:
            for row in self._server.take():
                try:
                    take[row[0]](row)
                except Exception:
                    # A fault of ours ends one stream; the others have done nothing wrong.
                    log.exception("an event was not handled")
                    if row[0] in self._asking:
                        self._out.append((row[1], None))
        finally:
            self._taking = False
            self._send()

    def _send(self) -> None:
        if self._out:
            out, self._out = self._out, []
            self._server.answer(out)

    def act(self, action: Route | Reject | Evict | ListModels) -> None:
        """See `hub.Peer`."""
        stream = action.stream
        match action:
            case Route():
                read = self._read.pop(stream, None) if self._read else None
                endpoints = ",".join(action.endpoints)
                summary = action.decision.summary()
                self._out.append(
                    (stream, endpoints, action.target_model, summary, read, action.headers, action.stays)
                )
            case Reject():
                request_id = action.decision.request_id
                param = "model" if action.reason in answers.ABOUT_THE_MODEL else None
                retry = action.retry_after_s
                self._refuse(stream, action.status, action.reason, action.message, request_id, param, retry)
            case Evict():  # the stream says whether it came in time
                answer = answers.error(
                    EVICTED_STATUS,
                    "evicted",
                    action.message,
                    request_id=action.request_id,
                    retry_after_s=action.retry_after_s,
                )
                self._out.append((stream, answer))
            case ListModels():
                asked = self._listing.get(stream, "")
                self._out.append((stream, answers.model_list(action.models, request_id=asked)))
                self._forget(stream)
            case _:
                assert_never(action)
        if not self._taking:
            self._send()

    def wait(self, stream: StreamId) -> None:
        """See `hub.Peer`."""
        self._out.append((stream, answers.MORE_TIME, None))
        if not self._taking:
            self._send()

    def _refuse(
        self,
        stream: StreamId,
        status: int,
        reason: str,
        message: str,
        request_id: str,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        answer = answers.error(
            status, reason, message, request_id=request_id, param=param, retry_after_s=retry_after_s
        )
        self._out.append((stream, answer))
        self._forget(stream)

    def _forget(self, stream: StreamId) -> bool:
        if self._listing:
            self._listing.pop(stream, None)
        if self._read:
            self._read.pop(stream, None)
        return self._hub.forget(stream)

    def _enter(self, stream: StreamId, pool: PoolKey, request: InferenceRequest) -> None:
        if request.api == "models":
            self._listing[stream] = request.id
        self._hub.enter(self, pool, stream)
        self._hub.tell(pool, RequestArrived(stream, request))

    def _arrived(self, row: Row) -> None:
        self._enter(row[1], row[2], request_of(row))

    def _started(self, row: Row) -> None:
        _, stream, pool, status, served, local, plain = row
        self._hub.tell(pool, ResponseStarted(stream, status, served, local, plain))

    def _first_token(self, row: Row) -> None:
        self._hub.tell(row[2], FirstToken(row[1]))

    def _stored(self, row: Row) -> None:
        _, stream, pool, id_, served = row
        self._hub.tell(pool, AnswerStored(stream, digest(id_), served))

    def _closed(self, row: Row) -> None:
        self._forget(row[1])

    def _unread(self, row: Row) -> None:
        _, stream, pool, headers, body, subset, unseen, client, lean = row
        fallback = self._settings.keys.name(stream)
        request = understand(
            headers,
            body,
            fallback_id=fallback,
            subset=subset,
            unseen=unseen,
            odd_limit=self._settings.odd_body_limit,
            own_envoy=lean,
            client=client,
            sessions=self._hub.sessions,
        )
        if isinstance(request, BadRequest):
            request_id = cut(headers.get("x-request-id", ""), LONGEST_ID) or fallback
            self._refuse(stream, 400, "bad-request", request.message, request_id, request.param)
            return
        self._read[stream] = request.model, request.streaming
        self._enter(stream, pool, request)

    def _too_large(self, row: Row) -> None:
        limit = self._settings.body_limit
        message = f"the request body is larger than {limit} bytes"
        self._refuse(row[1], 413, "too-large", message, row[3])

    def _unknown_pool(self, row: Row) -> None:
        self.unserved(row[1], row[2], row[3])

    def unserved(self, stream: StreamId, pool: PoolKey, request_id: RequestId) -> None:
        """See `hub.Peer`."""
        message = f"pool {pool} is not known to this picker" if pool else "no pool was named"
        self._refuse(stream, 503, "unknown-pool", message, request_id)
        if not self._taking:
            self._send()

    def _over(self, row: Row) -> None:
        _, stream, pool, ending, status, usage, served = row
        # The client may go while its refusal is on the way: that request was over before.
        if self._forget(stream):
            self._hub.tell(pool, RequestEnded(stream, ending, status, usage_of(usage), served))

    def _left(self, row: Row) -> None:
        self._hub.leave(row[1], row[2], row[3])
        self._forget(row[1])

    def _logged(self, row: Row) -> None:
        if (ended := logged(row, self._settings.keys)) is not None:
            self._hub.logged(ended)

    # ---- what changes while it runs

    def _pools_changed(self) -> None:
        self._server.set_pools(list(self._hub.pools), self._hub.unnamed() or None)
        self._server.set_sessions(*session_lists(self._hub.sessions))

    def _certify(self, material: Material) -> None:
        assert self._certificates is not None
        pair, lowest = material.pair, self._certificates.min_version
        self._server.set_tls(pair.chain, pair.key, min_version=lowest, client_ca=material.client_ca)


class NativePorts:
    """The ports of a native wire, both listening; the twin of `server.GrpcPorts`."""

    def __init__(self, wire: NativeWire, port: int, health_port: int, path: Path | None = None) -> None:
        self._wire = wire
        self._path = path
        self.port = port
        self.health_port = health_port

    def drain(self) -> None:
        """Takes no new stream on the main port, and tells peers; open ones go on, and the health port."""
        self._wire.drain()

    async def stop(self, grace_s: float) -> None:
        """Takes no new stream and ends open ones within *grace_s* seconds."""
        self._wire.stop(grace_s)
        if self._path is not None:
            remove_socket(self._path)
