"""Delta ADS on grpc.aio: one `DeltaSession` per stream, and nothing decided here."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import msgspec
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import json_format

from headgate.gateway.envoy.protos import type_url
from headgate.gateway.xds.session import DeltaSession, Event, Published, Requested, Response, Ticked
from headgate.gateway.xds.versions import KINDS, Kind, Resource, Resources, Target, target
from headgate.io.unix import private_socket
from headgate.io.xds.encode import Encoder
from headgate.model.problems import Place, Problem

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


class StreamState(msgspec.Struct, frozen=True):
    """One connected Envoy."""

    node: str
    settled: bool
    """It has acknowledged or refused everything that is published."""
    held: Mapping[Kind, int]
    """Resources it acknowledged, by kind."""


class _Stream:
    """A session, and the queue of what happens to it."""

    def __init__(self, session: DeltaSession) -> None:
        self.session = session
        self.events: asyncio.Queue[Event | None] = asyncio.Queue()
        self.node = ""


class XdsServer:
    """Serves one set of resources to every Envoy that connects.

    `publish` may be called at any time, before `start` too; `on_change` is called after anything that can
    change `streams` or `problems`.
    """

    def __init__(
        self,
        *,
        nodes: frozenset[str] | None = None,
        linger_s: float = LINGER_S,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """*nodes*: ids of the Envoys that are served, others are refused; None: any."""
        self._nodes = nodes
        self._strangers: set[str] = set()
        """Ids that were refused, and told of."""
        self._linger_s = linger_s
        self._on_change = on_change
        self._target = Target()
        self._encoder = Encoder()
        self._unencodable: tuple[Problem, ...] = ()
        self._streams: list[_Stream] = []
        self._server: grpc.aio.Server | None = None
        self._first_publish = asyncio.Event()
        self.published = 0
        """How many times the resources changed."""

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

    def _make(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=_OPTIONS)
        method = grpc.stream_stream_rpc_method_handler(
            self._delta,
            request_deserializer=discovery_pb2.DeltaDiscoveryRequest.FromString,
            response_serializer=discovery_pb2.DeltaDiscoveryResponse.SerializeToString,
        )
        handler = grpc.method_handlers_generic_handler(SERVICE, {"DeltaAggregatedResources": method})
        server.add_generic_rpc_handlers((handler,))
        self._server = server
        return server

    async def stop(self) -> None:
        """End every stream and stop listening."""
        for stream in self._streams:
            stream.events.put_nowait(None)
        if self._server is not None:
            await self._server.stop(grace=0.5)

    def publish(self, resources: Resources) -> bool:
        """Make these the resources that Envoy is led to; whether anything changed.

        A resource that cannot be turned into a message stays as it was and becomes a problem.
        """
        self._first_publish.set()
        wanted = self._encodable(target(resources, self._target))
        if wanted == self._target:
            return False
        self._target = wanted
        self.published += 1
        for stream in self._streams:
            stream.events.put_nowait(Published(wanted))
        self._on_change()
        return True

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What cannot be sent, and what any connected Envoy refuses."""
        refused = {problem: None for stream in self._streams for problem in stream.session.problems}
        return (*self._unencodable, *refused)

    @property
    def streams(self) -> tuple[StreamState, ...]:
        """The connected Envoys."""
        return tuple(
            StreamState(
                stream.node,
                stream.session.settled,
                {kind: len(stream.session.held(kind)) for kind in KINDS},
            )
            for stream in self._streams
        )

    def _encodable(self, wanted: Target) -> Target:
        problems: list[Problem] = []
        kept: dict[Kind, dict[str, Resource]] = {}
        for kind in KINDS:
            kept[kind] = {}
            for name, resource in wanted.of(kind).items():
                try:
                    self._encoder.encode(resource)
                    kept[kind][name] = resource
                except json_format.ParseError as error:
                    place = Place(object=f"{kind} {name}")
                    problems.append(Problem(place, "Untranslatable", f"not an Envoy resource: {error}"))
                    if name in self._target.of(kind):
                        kept[kind][name] = self._target.of(kind)[name]
        self._unencodable = tuple(problems)
        self._encoder.keep_only({(k, n, r.version) for k, of in kept.items() for n, r in of.items()})
        return Target(kept)

    async def _delta(
        self,
        requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest],
        context: "grpc.aio.ServicerContext[Any, Any]",
    ) -> AsyncIterator[discovery_pb2.DeltaDiscoveryResponse]:
        # an Envoy that comes back to a restarted server keeps what it has until there is something better
        await self._first_publish.wait()
        waiting = aiter(requests)
        first = await _first(waiting)
        if first is None:
            return
        if self._nodes is not None and first.node.id not in self._nodes:
            await self._refuse(first.node.id[:LONGEST_NODE], context)
        stream = _Stream(DeltaSession(self._target, linger_s=self._linger_s))
        self._streams.append(stream)
        self._take(first, stream)
        reader = asyncio.create_task(self._read(waiting, stream))
        now = asyncio.get_running_loop().time
        try:
            while True:
                event: Event | None = Ticked()
                wake_at = stream.session.wake_at
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(wake_at):
                        event = await stream.events.get()
                if event is None:
                    return
                for response in stream.session.handle(event, now()):
                    yield self._message(response)
                self._on_change()
        finally:
            reader.cancel()
            self._streams.remove(stream)
            self._on_change()

    async def _read(
        self, requests: AsyncIterator[discovery_pb2.DeltaDiscoveryRequest], stream: _Stream
    ) -> None:
        try:
            async for request in requests:
                self._take(request, stream)
        finally:
            stream.events.put_nowait(None)

    def _take(self, request: discovery_pb2.DeltaDiscoveryRequest, stream: _Stream) -> None:
        stream.node = request.node.id or stream.node
        kind = _KIND_OF.get(request.type_url)
        if kind is None:
            log.debug("Envoy asks for %s, which is not served here", request.type_url)
            return
        stream.events.put_nowait(_requested(kind, request))

    async def _refuse(self, node: str, context: "grpc.aio.ServicerContext[Any, Any]") -> None:
        if node not in self._strangers and len(self._strangers) < MOST_STRANGERS:
            self._strangers.add(node)
            log.warning("Envoy node %r (%s) is not served: name it with --node", node, context.peer())
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "this node is not served here")

    def _message(self, response: Response) -> discovery_pb2.DeltaDiscoveryResponse:
        return discovery_pb2.DeltaDiscoveryResponse(
            type_url=type_url(response.kind),
            nonce=response.nonce,
            resources=[
                discovery_pb2.Resource(
                    name=each.name, version=each.version, resource=self._encoder.encode(each)
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
