"""Either wire served on a free port around a scripted machine, and the messages that a data plane sends."""

import asyncio
import collections
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sized
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from envoy.extensions.filters.http.ext_proc.v3.processing_mode_pb2 import ProcessingMode
from envoy.service.accesslog.v3.als_pb2 import StreamAccessLogsMessage
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.choices import a_choice

from headgate.io.extproc.health import Health
from headgate.io.extproc.hub import SILENCE_S, Hub, Machine, Observer
from headgate.io.extproc.native import IDLE_S, PING_S, Limits, load
from headgate.io.extproc.native_wire import NativePorts, NativeWire
from headgate.io.extproc.server import GrpcPorts, listen
from headgate.io.extproc.service import ACCESS_LOG, EXT_PROC, GrpcServices
from headgate.io.extproc.tls import Certificates, server_credentials
from headgate.model.decisions import Decision
from headgate.model.ids import EndpointId, PoolKey, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.actions import Action, Route
from headgate.picker.choice import Choice
from headgate.picker.events import Event, RequestArrived, RequestEnded, Woken
from headgate.wire.extproc import BODY_LIMIT_BYTES, Settings
from headgate.wire.stream_key import StreamKeys

native = load("auto")
WIRES = ["portable", *(["native"] if native else [])]
POOL = PoolKey("default/p")
ENDPOINT = EndpointId("10.0.0.1:80")
PROCESS = f"/{EXT_PROC}/Process"
LOGS = f"/{ACCESS_LOG}/StreamAccessLogs"
NAMED = (("x-headgate-pool", POOL),)
LEAN = (*NAMED, ("x-headgate-lean", "1"))

DUPLEX, BUFFERED = ProcessingMode.FULL_DUPLEX_STREAMED, ProcessingMode.BUFFERED
STREAMED = ProcessingMode.STREAMED
POST = {":method": "POST", ":path": "/v1/chat/completions", "x-request-id": "r"}
SSE = {":status": "200", "content-type": "text/event-stream"}


class Scripted:
    """Routes every request to one endpoint, at once or, told to hold, when woken."""

    def __init__(self, target: str | None = None) -> None:
        self.events: list[Event] = []
        self.target = target
        self.hold = False
        self._held: list[RequestArrived] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """See `hub.Machine`."""
        self.events.append(event)
        if isinstance(event, RequestArrived):
            self._held.append(event)
        if self.hold and not isinstance(event, Woken):
            return []
        ready, self._held = self._held, []
        return [self._route(each) for each in ready]

    def _route(self, event: RequestArrived) -> Action:
        choice = a_choice(event.request.id, POOL, (ENDPOINT,))
        return Route(event.stream, (ENDPOINT,), self.target, choice)

    def arrived(self) -> list[InferenceRequest]:
        """The requests so far."""
        return [event.request for event in self.events if isinstance(event, RequestArrived)]

    def streams(self) -> list[StreamId]:
        """The streams of these requests."""
        return [event.stream for event in self.events if isinstance(event, RequestArrived)]

    def ends(self) -> collections.Counter[StreamId]:
        """How often each stream's end was told."""
        return collections.Counter(event.stream for event in self.events if isinstance(event, RequestEnded))


class Silent:
    """A listener that wants to know nothing."""

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        """See `hub.Observer`."""

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        """See `hub.Observer`."""


class Served:
    """A hub that is served on `port`."""

    def __init__(
        self, hub: Hub, ports: GrpcPorts | NativePorts, health: Health, wire: NativeWire | None
    ) -> None:
        self.hub, self.ports, self.health, self._wire = hub, ports, health, wire
        self.port = ports.port

    def kept(self) -> dict[str, int]:
        """What is still held for streams, by place; empty when nothing is."""
        holders: list[Any] = [self.hub, *([self._wire] if self._wire else [])]
        names = ("_peers", "_told", "_left", "_ids", "_read", "_out")
        found = [(name, getattr(each, name, None)) for each in holders for name in names]
        sizes = {name: len(held) for name, held in found if isinstance(held, Sized)}
        sizes["streams"] = self.hub.open_streams
        return {name: size for name, size in sizes.items() if size}

    async def quiet(self) -> None:
        """Waits until nothing is held any more."""
        await until(lambda: not self.kept(), self.kept)

    def panics(self) -> int:
        """Faults of ours in the transport."""
        return self._wire.counters()["panics"] if self._wire else 0


async def until(condition: Callable[[], Any], show: Callable[[], Any] = lambda: "never") -> None:
    """Waits until *condition* holds; what *show* says is in the error when it never does."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, show()
        await asyncio.sleep(0.005)


@asynccontextmanager
async def serving(
    wire: str,
    machine: Machine,
    *,
    body_limit: int = BODY_LIMIT_BYTES,
    message_bytes: int = 128 << 20,
    backlog: int = Limits().backlog,
    listener: Observer | None = None,
    path: Path | None = None,
    health_port: int | None = None,
    ping_s: float = PING_S,
    idle_s: float = IDLE_S,
    silence_s: float = SILENCE_S,
    certificates: Certificates | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[Served]:
    """*machine* as the one pool behind *wire*; *path*: a Unix socket in place of the port."""
    hub = Hub(listener or Silent(), time.monotonic, silence_s=silence_s)
    hub.add_pool(POOL, machine)
    health = Health()
    await health.set_ready(True)
    settings = Settings("n", body_limit=body_limit)
    if wire == "native":
        assert native is not None
        limits = Limits(message_bytes=message_bytes, backlog=backlog, ping_s=ping_s, idle_s=idle_s)
        made = NativeWire(native, hub, settings, limits)
        native_ports = made.start(host, 0, health_port, certificates, path)
        following = asyncio.create_task(made.follow(health))
        try:
            yield Served(hub, native_ports, health, made)
        finally:
            following.cancel()
            await native_ports.stop(1.0)
        return
    if certificates is not None and certificates.reload:
        certificates.files.follow()
    ports = await listen(
        GrpcServices(hub, settings),
        health,
        host=host,
        port=0,
        health_port=health_port,
        credentials=None if certificates is None else server_credentials(certificates),
        max_receive_bytes=message_bytes,
        path=path,
        ping_s=ping_s,
        idle_s=idle_s,
    )
    try:
        yield Served(hub, ports, health, None)
    finally:
        await ports.stop(0)
        if certificates is not None:
            certificates.files.stop()


def fill(target: Any, headers: Mapping[str, str]) -> None:
    """Puts headers into a message's part."""
    for key, value in headers.items():
        target.headers.headers.add(key=key, raw_value=value.encode())


def asks(
    modes: tuple[int, int] | None = (DUPLEX, DUPLEX),
    headers: Mapping[str, str] = POST,
    *,
    end: bool = False,
) -> bytes:
    """Request headers."""
    message = pb.ProcessingRequest()
    fill(message.request_headers, headers)
    message.request_headers.end_of_stream = end
    if modes is not None:
        message.protocol_config.request_body_mode, message.protocol_config.response_body_mode = modes
    return _bytes(message)


def piece(data: bytes, *, end: bool = False) -> bytes:
    """A piece of the request's body."""
    return _bytes(pb.ProcessingRequest(request_body=pb.HttpBody(body=data, end_of_stream=end)))


def tail() -> bytes:
    """Request trailers."""
    return _bytes(pb.ProcessingRequest(request_trailers=pb.HttpTrailers()))


def answers_with(headers: Mapping[str, str], *, end: bool = False) -> bytes:
    """Response headers."""
    message = pb.ProcessingRequest()
    fill(message.response_headers, headers)
    message.response_headers.end_of_stream = end
    return _bytes(message)


def chunk(data: bytes, *, end: bool = False) -> bytes:
    """A piece of the answer's body."""
    return _bytes(pb.ProcessingRequest(response_body=pb.HttpBody(body=data, end_of_stream=end)))


def last() -> bytes:
    """Response trailers."""
    return _bytes(pb.ProcessingRequest(response_trailers=pb.HttpTrailers()))


def logs(streams: list[StreamId], node: str = "") -> bytes:
    """An access-log message that tells the end of *streams*; *node*: who writes it."""
    message = StreamAccessLogsMessage()
    message.identifier.node.id = node
    for stream in streams:
        entry = message.http_logs.log_entry.add()
        entry.common_properties.metadata.filter_metadata["headgate"]["stream"] = StreamKeys("n", b"").key(
            stream
        )
        entry.response.response_code.value = 200
    return _bytes(message)


def _bytes(message: Any) -> bytes:
    data: bytes = message.SerializeToString()
    return data
