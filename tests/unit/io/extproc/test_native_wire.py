"""The native server and the hub behind it: faults stay with their stream, TLS is as asked."""

import asyncio
import datetime
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.choices import a_choice

from headgate.io.extproc.hub import Hub
from headgate.io.extproc.native import Limits
from headgate.io.extproc.native_wire import NativeWire
from headgate.io.extproc.tls import CertificateFiles, Certificates, self_signed
from headgate.model.decisions import Decision
from headgate.model.ids import PoolKey, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.actions import Action, Route
from headgate.picker.choice import Choice
from headgate.picker.events import Event, RequestArrived
from headgate.wire.extproc import Settings

native = pytest.importorskip("headgate_native")

POOL = PoolKey("default/p")
PROCESS = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"


class _Machine:
    """Sends everything to one endpoint, and fails on one path."""

    def handle(self, event: Event, now: float) -> list[Action]:
        if not isinstance(event, RequestArrived):
            return []
        if event.request.path == "/bad":
            raise RuntimeError("a fault")
        choice = a_choice("r", POOL, ("10.0.0.1:1",), policy="test")
        return [Route(event.stream, choice.chosen, None, choice)]


class _Listener:
    """Wants to know nothing."""

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        """See `hub.Observer`."""

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        """See `hub.Observer`."""


@contextmanager
def _serving(certificates: Certificates | None = None) -> Iterator[tuple[Hub, int]]:
    hub = Hub(_Listener(), time.monotonic)
    wire = NativeWire(native, hub, Settings("n"), Limits())
    ports = wire.start("127.0.0.1", 0, None, certificates)
    hub.add_pool(POOL, _Machine())
    try:
        yield hub, ports.port
    finally:
        wire.stop(1.0)


async def _ask(channel: Any, path: str) -> list[Any]:
    message = pb.ProcessingRequest()
    for key, value in {":method": "GET", ":path": path}.items():
        message.request_headers.headers.headers.add(key=key, raw_value=value.encode())
    message.request_headers.end_of_stream = True
    call = channel.stream_stream(PROCESS)(iter([message.SerializeToString()]))
    return [pb.ProcessingResponse.FromString(data) async for data in call]


async def test_a_fault_of_the_machine_ends_its_stream_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    with _serving() as (hub, port):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            caplog.set_level(logging.CRITICAL, "headgate.io.extproc.native")
            with pytest.raises(grpc.aio.AioRpcError):
                await asyncio.wait_for(_ask(channel, "/bad"), 10)
            (answer,) = await asyncio.wait_for(_ask(channel, "/good"), 10)
        picked = answer.dynamic_metadata["envoy.lb"]["x-gateway-destination-endpoint"]
        assert picked == "10.0.0.1:1"
        for _ in range(500):
            if hub.open_streams == 0:
                break
            await asyncio.sleep(0.01)
        assert hub.open_streams == 0


def _handshake(port: int, context: ssl.SSLContext) -> str | None:
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as secure:
        secure.recv(1)
        return secure.version()


async def test_tls_has_a_lowest_version_and_may_ask_for_certificates(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(self_signed(datetime.datetime.now(datetime.UTC)).chain)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with _serving(Certificates(files=CertificateFiles(None, None), min_version="1.3")) as (_, port):
        assert await asyncio.to_thread(_handshake, port, context) == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(_handshake, port, context)
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    with (
        _serving(Certificates(files=CertificateFiles(None, tmp_path / "ca.pem"))) as (_, port),
        pytest.raises(OSError, match=r"(?i)certificate|closed|reset|EOF"),
    ):
        await asyncio.to_thread(_handshake, port, context)
