"""Delta ADS on grpc.aio: one `DeltaSession` per stream, and nothing decided here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import grpc
import grpc.aio
import msgspec
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf.any_pb2 import Any as AnyMessage

from headgate.gateway.envoy.protos import type_url
from headgate.gateway.xds.events import Event, Published, Requested, Response, Ticked
from headgate.gateway.xds.session import DeltaSession
from headgate.gateway.xds.versions import KINDS, Changes, Kind, Wanted, apply, nothing
from headgate.io.unix import private_socket
from headgate.io.xds import own_answers
from headgate.io.xds.own_answers import Take
from headgate.model.problems import Problem

log = logging.getLogger(__name__)

LINGER_S = 30.0
"""How long a removed cluster stays in Envoy after its last use: longer than a request waits in a filter."""

FIRST_S = 30.0
"""How long a stream may say nothing before it says who it is."""
LONGEST_NODE = 64
MOST_STRANGERS = 100
"""So many refused nodes are told of, each once, by so many characters of their ids."""

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
_KIND_OF: Mapping[str, Kind] = {type_url(kind): kind for kind in KINDS}
_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
]


class Shown(Protocol):
    """A certificate, its key, and the authorities of whoever connects, PEM."""

    @property
    def certificate(self) -> bytes:
        """Its chain."""
        ...

    @property
    def key(self) -> bytes:
        """Its private key."""
        ...

    @property
    def authorities(self) -> bytes:
        """Certificates of authorities."""
        ...


class StreamState(msgspec.Struct, frozen=True):
    """One connected Envoy."""

    node: str
    dataplane: str
    """Whose resources it gets."""
    settled: bool
    """It has acknowledged or refused everything that is published."""
    held: Mapping[Kind, int]
    """Resources it acknowledged, by kind."""


class _Stream:
    """A session, and what is to be sent by it. What the session says of itself is asked once for an event."""

    def __init__(self, dataplane: str, session: DeltaSession) -> None:
        self.dataplane = dataplane
        self.session = session
        self.node = ""
        self.responses: asyncio.Queue[Response | None] = asyncio.Queue()
        """To be sent, of each kind one at most; None: the stream ends."""
        self.is_settled = session.settled
        """Nothing waits to be sent or to be answered."""
        self.problems = session.problems
        """What Envoy refuses."""
        self.timer: asyncio.TimerHandle | None = None
        self._ends = False

    def end(self) -> None:
        """Nothing more is sent, and it is not settled: what it says counts until it is gone."""
        self.responses.put_nowait(None)
        self._ends, self.is_settled = True, False

    def handle(self, event: Event, now: float) -> bool:
        """Take in *event*; whether something else is to be said of the stream now."""
        if self._ends:
            return False
        try:
            for each in self.session.handle(event, now):
                self.responses.put_nowait(each)
        except Exception:
            log.exception("a bug in Headgate: the stream of Envoy %r ends, and it comes back", self.node)
            self.end()
            return True
        before = self.is_settled, self.problems
        self.is_settled, self.problems = self.session.settled, self.session.problems
        return before != (self.is_settled, self.problems)


class XdsServer:
    """Serves each Envoy the resources of its data plane.

    `publish` may be called at any time, before `start` too. `on_change` is called with the data plane of an
    Envoy that came, went, or of which something else is to be said now, and not during `publish`.
    """

    def __init__(
        self,
        dataplane_of: Callable[[str], str | None],
        *,
        linger_s: float = LINGER_S,
        on_change: Callable[[str], None] = lambda _: None,
        on_answers: Take = own_answers.nobody,
    ) -> None:
        """*dataplane_of*: id of an Envoy → its data plane; None: it is refused. *on_answers* is told what an
        Envoy of a data plane answered by itself."""
        self._dataplane_of = dataplane_of
        self._strangers: set[str] = set()
        """Ids that were refused, and told of."""
        self._linger_s = linger_s
        self._on_change = on_change
        self._on_answers = on_answers
        self._wanted: dict[str, Wanted] = {}
        self._published: dict[str, asyncio.Event] = {}
        """Of dataplanes that were published, or that an Envoy waits for."""
        self._begun = asyncio.Event()
        self._proves: Callable[[str], str] | None = None
        self._streams: dict[str, list[_Stream]] = {}
        """Of each data plane that has any."""
        self._unsettled: set[_Stream] = set()
        self._refusing: dict[_Stream, None] = {}
        """Those that have problems."""
        self._server: grpc.aio.Server | None = None
        self.published = 0
        """How many times resources changed."""

    async def start(self, host: str, port: int) -> int:
        """Listen on *host*:*port* (0: any free one); the port. Raises RuntimeError when it is taken."""
        server = self._make()
        bound = server.add_insecure_port(f"{host}:{port}")
        await server.start()
        return bound

    async def start_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only this user can use. Raises OSError when it cannot be bound."""
        server = self._make()
        with private_socket(path):
            server.add_insecure_port(f"unix:{path}")
        await server.start()

    async def start_tls(
        self, host: str, port: int, shown: Callable[[], Shown], proves: Callable[[str], str]
    ) -> int:
        """Listen on *host*:*port* with mutual TLS. *shown* is asked at every connection. *proves*: id of an
        Envoy → the URI that its certificate must have. Raises RuntimeError when the port is taken."""
        self._proves = proves

        def configuration() -> Any:
            now = shown()
            return grpc.ssl_server_certificate_configuration([(now.key, now.certificate)], now.authorities)

        server = self._make()
        credentials = grpc.dynamic_ssl_server_credentials(
            configuration(), configuration, require_client_authentication=True
        )
        bound = server.add_secure_port(f"{host}:{port}", credentials)
        await server.start()
        return bound

    def _make(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=_OPTIONS)
        method = grpc.stream_stream_rpc_method_handler(
            self._delta,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})
        told = own_answers.handler(self._admitted, self._on_answers)
        server.add_generic_rpc_handlers((handler, told))
        self._server = server
        return server

    async def stop(self) -> None:
        """End every stream and stop listening."""
        for stream in self._all():
            stream.end()
        if self._server is not None:
            await self._server.stop(grace=0.5)

    def publish(self, dataplane: str, changes: Changes) -> None:
        """The resources of a data plane are other ones from now on; the first time, perhaps none at all."""
        self.begin()
        apply(self._wanted.setdefault(dataplane, nothing()), changes)
        self._published.setdefault(dataplane, asyncio.Event()).set()
        if not changes:
            return
        self.published += 1
        event = Published(changes)
        for stream in self._streams.get(dataplane, ()):
            self._handle(stream, event)

    def begin(self) -> None:
        """It is known which data planes there are; until then every Envoy waits."""
        self._begun.set()

    def forget(self, dataplane: str) -> None:
        """There is no such Envoy any more: its streams end."""
        self._wanted.pop(dataplane, None)
        self._published.pop(dataplane, None)
        for stream in self._streams.get(dataplane, ()):
            stream.end()
            self._note(stream)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What any connected Envoy refuses."""
        return tuple({problem: None for stream in self._refusing for problem in stream.problems})

    @property
    def refusals(self) -> tuple[tuple[str, Problem], ...]:
        """The same with the data plane whose Envoys refuse it."""
        return tuple((stream.dataplane, problem) for stream in self._refusing for problem in stream.problems)

    @property
    def settled(self) -> bool:
        """There is an Envoy, and every one has acknowledged or refused all it was sent."""
        return bool(self._streams) and not self._unsettled

    def acknowledged(self, dataplane: str) -> bool | None:
        """Whether every Envoy of a data plane has acknowledged or refused all it was sent; None: none is
        here."""
        found = self._streams.get(dataplane)
        return None if found is None else all(each.is_settled for each in found)

    @property
    def streams(self) -> tuple[StreamState, ...]:
        """The connected Envoys."""
        return tuple(
            StreamState(
                stream.node,
                stream.dataplane,
                stream.is_settled,
                {kind: stream.session.count(kind) for kind in KINDS},
            )
            for stream in self._all()
        )

    def _all(self) -> list[_Stream]:
        return [each for some in self._streams.values() for each in some]

    async def _delta(
        self,
        requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> AsyncIterator[discovery_pb2.DeltaDiscoveryResponse]:
        waiting = aiter(requests)
        first = await _first(waiting)
        if first is None:
            return
        await self._begun.wait()
        dataplane = await self._admitted(first.node.id, context)
        if dataplane is None:
            return
        # an Envoy that comes back to a restarted server keeps what it has until there is something better
        await self._published.setdefault(dataplane, asyncio.Event()).wait()
        stream = _Stream(dataplane, DeltaSession(self._wanted[dataplane], linger_s=self._linger_s))
        self._streams.setdefault(dataplane, []).append(stream)
        self._note(stream)
        self._on_change(dataplane)
        self._take(first, stream)
        reader = asyncio.create_task(self._read(waiting, stream))
        try:
            while (response := await stream.responses.get()) is not None:
                yield _message(response)
        finally:
            reader.cancel()
            self._leave(stream)

    def _handle(self, stream: _Stream, event: Event) -> bool:
        """Let something happen to a stream; whether something else is to be said of it now."""
        loop = asyncio.get_running_loop()
        is_another = stream.handle(event, loop.time())
        if is_another:
            self._note(stream)
        if stream.timer is not None:
            stream.timer.cancel()
        at = stream.session.wake_at
        stream.timer = None if at is None else loop.call_at(at, self._happened, stream, Ticked())
        return is_another

    def _happened(self, stream: _Stream, event: Event) -> None:
        if self._handle(stream, event):
            self._on_change(stream.dataplane)

    def _note(self, stream: _Stream) -> None:
        if stream.is_settled:
            self._unsettled.discard(stream)
        else:
            self._unsettled.add(stream)
        if stream.problems:
            self._refusing[stream] = None
        else:
            self._refusing.pop(stream, None)

    def _leave(self, stream: _Stream) -> None:
        if stream.timer is not None:
            stream.timer.cancel()
        self._unsettled.discard(stream)
        self._refusing.pop(stream, None)
        others = self._streams[stream.dataplane]
        others.remove(stream)
        if not others:
            del self._streams[stream.dataplane]
        self._on_change(stream.dataplane)

    async def _admitted(self, node: str, context: "grpc.aio.ServicerContext[Any, Any]") -> str | None:
        """The dataplane of an Envoy that says it is *node*; None: its call is refused."""
        dataplane = self._dataplane_of(node)
        if dataplane is not None and self._is_proved(node, context):
            return dataplane
        await self._refuse(node[:LONGEST_NODE], context)
        return None

    def _is_proved(self, node: str, context: "grpc.aio.ServicerContext[Any, Any]") -> bool:
        """Whether the Envoy's certificate says that it is who it says."""
        if self._proves is None:
            return True
        names = context.auth_context().get("x509_subject_alternative_name", ())
        return self._proves(node).encode() in names

    async def _read(
        self, requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest], stream: _Stream
    ) -> None:
        try:
            async for request in requests:
                self._take(request, stream)
        finally:
            stream.end()

    def _take(self, request: discovery_pb2.DeltaDiscoveryRequest, stream: _Stream) -> None:
        stream.node = request.node.id or stream.node
        kind = _KIND_OF.get(request.type_url)
        if kind is None:
            log.debug("Envoy asks for %s, which is not served here", request.type_url)
            return
        self._happened(stream, _requested(kind, request))

    async def _refuse(self, node: str, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        if node not in self._strangers and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(node)
            log.warning(
                "Envoy node %r (%s) is not served here: no Gateway and no --node is called so, or it has the "
                "certificate of another",
                node,
                context.peer(),
            )
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this node is not served here")


def _message(response: Response) -> discovery_pb2.DeltaDiscoveryResponse:
    url = type_url(response.kind)
    return discovery_pb2.DeltaDiscoveryResponse(
        type_url=url,
        nonce=response.nonce,
        resources=[
            discovery_pb2.Resource(
                name=each.name,
                version=each.version,
                resource=AnyMessage(type_url=url, value=each.body),
            )
            for each in response.changed
        ],
        removed_resources=response.removed,
    )


async def _first(
    requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest],
) -> discovery_pb2.DeltaDiscoveryRequest | None:
    """The first request; None when the stream ends without one, or says nothing for long."""
    with suppress(TimeoutError):
        async with asyncio.timeout(FIRST_S):
            return await anext(requests, None)
    return None


def _requested(kind: Kind, request: discovery_pb2.DeltaDiscoveryRequest) -> Requested:
    return Requested(
        kind=kind,
        subscribe=tuple(request.resource_names_subscribe),
        unsubscribe=tuple(request.resource_names_unsubscribe),
        initial_versions=dict(request.initial_resource_versions),
        nonce=request.response_nonce,
        error=request.error_detail.message if request.HasField("error_detail") else None,
    )
