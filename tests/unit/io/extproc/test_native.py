"""The native module is what its hand-written stub says, and the wire is chosen as asked."""

import ast
import asyncio
import datetime
import inspect
import logging
import socket
import ssl
import subprocess
import sys
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
from headgate.io.extproc.native import VARIABLE, Certificates, Limits, NativeWire, load
from headgate.io.extproc.tls import self_signed
from headgate.model.decisions import Decision
from headgate.model.ids import PoolKey, StreamId
from headgate.model.requests import InferenceRequest, Outcome
from headgate.picker.actions import Action, Route
from headgate.picker.choice import Choice
from headgate.picker.events import Event, RequestArrived
from headgate.wire.extproc import Settings
from headgate.wire.native import native_settings

native = pytest.importorskip("headgate_native")

STUB = Path(__file__).parents[4] / "native" / "headgate_native.pyi"


def _parameters(node: ast.FunctionDef) -> list[str]:
    arguments = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
    return [*arguments, *(f"*{each.arg}" for each in node.args.kwonlyargs)]


def _stub() -> dict[str, object]:
    """Names of the stub: functions with their parameters, classes with their members, constants as None."""
    found: dict[str, object] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _parameters(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = {
                each.name: None if each.decorator_list else _parameters(each)
                for each in node.body
                if isinstance(each, ast.FunctionDef)
            }
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is None:
            found[node.target.id] = None
    return found


def _signature(built: object) -> list[str]:
    signature = inspect.signature(built)  # type: ignore[arg-type]
    named = [each for each in signature.parameters.values() if each.name != "self"]
    return [f"*{each.name}" if each.kind is each.KEYWORD_ONLY else each.name for each in named]


def _members(built: type) -> dict[str, object]:
    found: dict[str, object] = {"__new__": _signature(built)}
    for name, member in vars(built).items():
        if not name.startswith("_"):
            found[name] = _signature(member) if callable(member) else None
    return found


def test_the_stub_is_the_module() -> None:
    built: dict[str, object] = {"__version__": None}
    for name in dir(native):
        value = getattr(native, name)
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            built[name] = _members(value)
        else:
            built[name] = _signature(value) if callable(value) else None
    assert built == _stub()


def test_the_stub_is_what_type_checkers_see() -> None:
    installed = Path(native.__file__).with_suffix(".pyi")
    assert installed.read_text() == STUB.read_text()


def test_the_wire_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("native") is native
    assert load("portable") is None
    monkeypatch.setenv(VARIABLE, "portable")
    assert load() is None
    monkeypatch.delenv(VARIABLE)
    assert load() is native
    with pytest.raises(ValueError, match="native, portable or auto"):
        load("fast")


def test_without_the_module_auto_means_portable_and_native_is_refused() -> None:
    """In an interpreter that cannot import it."""
    code = """
import sys
sys.modules["headgate_native"] = None
from headgate.io.extproc.native import MissingError, load
assert load("auto") is None
try:
    load("native")
except MissingError as error:
    assert "make setup" in str(error)
else:
    raise SystemExit("not refused")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


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
        """See `hub.Listener`."""

    def concluded(self, stream: StreamId, outcome: Outcome) -> None:
        """See `hub.Listener`."""


@contextmanager
def _serving(certificates: Certificates | None = None) -> Iterator[tuple[Hub, int]]:
    hub = Hub("n", _Listener(), time.monotonic)
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
    pair = self_signed(datetime.datetime.now(datetime.UTC))
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    with _serving(Certificates(pair=pair, min_version="1.3")) as (_, port):
        assert await asyncio.to_thread(_handshake, port, context) == "TLSv1.3"
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError):
            await asyncio.to_thread(_handshake, port, context)
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    with (
        _serving(Certificates(pair=pair, client_ca=pair.chain)) as (_, port),
        pytest.raises(OSError, match=r"(?i)certificate|closed|reset|EOF"),
    ):
        await asyncio.to_thread(_handshake, port, context)


def test_certificates_that_cannot_be_used_are_refused() -> None:
    made = native.Server(
        _settings(), threads=1, max_connections=1, max_streams=1, max_message_bytes=1, backlog=1
    )
    pair = self_signed(datetime.datetime.now(datetime.UTC))
    with pytest.raises(ValueError, match="no certificate"):
        made.set_tls(b"", pair.key)
    with pytest.raises(ValueError, match="private key"):
        made.set_tls(pair.chain, b"nonsense")
    with pytest.raises(ValueError, match=r"1\.2 and 1\.3"):
        made.set_tls(pair.chain, pair.key, min_version="1.1")
    made.stop(0.0)


def _settings() -> dict[str, Any]:
    return native_settings(Settings("n"))
