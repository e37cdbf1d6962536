"""The picker process's ports: who may connect, how, and on how many threads."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import grpc.aio
import pytest
from tests.live.harness.certificates import Authority, write_pair
from tests.live.harness.envoy_with_picker import envoy_with_picker
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.picker import picker
from tests.live.harness.processes import HEADGATE, Child, eventually, run_headgate

from headgate.io.extproc.tls import KeyPair

pytestmark = pytest.mark.live

CHECK = "/grpc.health.v1.Health/Check"
SERVING = b"\x08\x01"
ENDPOINT = ("--endpoints", "127.0.0.1:1")
NO_PORTS = ("--host", "127.0.0.1", "--grpc-port", "0", "--grpc-health-port", "-1", "--metrics-port", "-1")


@pytest.fixture(params=["portable", "native"])
def wire(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both wires in turn."""
    if request.param == "native":
        pytest.importorskip("headgate_native")
    monkeypatch.setenv("HEADGATE_WIRE", request.param)
    return str(request.param)


async def health(port: int, server: Authority, client: KeyPair | None = None) -> bytes:
    """What the main port's health service answers to a client that trusts *server* and shows *client*."""
    shown = {} if client is None else {"private_key": client.key, "certificate_chain": client.chain}
    credentials = grpc.ssl_channel_credentials(server.pem, **shown)
    options = [("grpc.ssl_target_name_override", "picker"), ("grpc.use_local_subchannel_pool", 1)]
    channel: Any
    async with grpc.aio.secure_channel(f"127.0.0.1:{port}", credentials, options=options) as channel:
        answer: bytes = await channel.unary_unary(CHECK)(b"", timeout=10)
        return answer


async def refused(port: int, server: Authority, client: KeyPair | None = None) -> bool:
    """Whether the connection fails; a call that is answered with an error of its own is not refused."""
    try:
        await health(port, server, client)
    except grpc.aio.AioRpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE, error
        return True
    return False


async def test_clients_must_show_a_certificate_of_the_authority(wire: str, tmp_path: Path) -> None:
    server, clients, others = Authority(), Authority(), Authority()
    file = tmp_path / "clients.pem"
    file.write_bytes(Authority().pem + clients.pem)
    folder = write_pair(tmp_path / "pair", server.sign("picker"))
    async with picker(*ENDPOINT, "--cert-path", str(folder), "--tls-client-ca", str(file)) as process:
        await process.until_ready()
        assert await health(process.grpc, server, clients.sign("envoy")) == SERVING
        assert await refused(process.grpc, server)
        assert await refused(process.grpc, server, others.sign("envoy"))
        # The health port is for kubelets, which have no certificate.
        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{process.health}") as channel:
            assert await channel.unary_unary(CHECK)(b"", timeout=10) == SERVING


async def test_envoy_shows_its_certificate(wire: str, tmp_path: Path) -> None:
    clients, body = Authority(), {"model": "m", "messages": []}
    file = tmp_path / "clients.pem"
    file.write_bytes(clients.pem)
    async with (
        ScriptedModelServer().running() as server,
        picker("--endpoints", server.address, "--tls-client-ca", str(file)) as process,
        aiohttp.ClientSession() as http,
    ):
        await process.until_ready()
        for client, status in ((clients.sign("envoy"), 200), (None, 503)):
            async with (
                envoy_with_picker(
                    "duplex", tmp_path, process.grpc, [server.address], tls=True, client=client
                ) as url,
                http.post(f"{url}/v1/chat/completions", json=body) as answer,
            ):
                assert answer.status == status, await answer.text()


async def test_a_new_certificate_is_shown_and_clients_still_need_theirs(wire: str, tmp_path: Path) -> None:
    old, new, clients = Authority(), Authority(), Authority()
    file = tmp_path / "clients.pem"
    file.write_bytes(clients.pem)
    folder = write_pair(tmp_path / "pair", old.sign("picker"))
    arguments = ("--cert-path", str(folder), "--enable-cert-reload", "--tls-client-ca", str(file))
    async with picker(*ENDPOINT, *arguments) as process:
        await process.until_ready()
        client = clients.sign("envoy")
        assert await health(process.grpc, old, client) == SERVING
        pair = new.sign("picker")
        (folder / "tls.crt").write_bytes(pair.chain)
        assert await health(process.grpc, old, client) == SERVING, "half a pair is not used"
        write_pair(folder, pair)
        async with asyncio.timeout(20):
            while await refused(process.grpc, new, client):
                await asyncio.sleep(0.1)
        assert await refused(process.grpc, old, client)
        assert await refused(process.grpc, new)


def handshake(port: int, newest: ssl.TLSVersion) -> str | None:
    """The version that a client which knows none above *newest* agrees on; raises OSError when refused."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = newest
    context.set_alpn_protocols(["h2"])
    with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as secure:
        return secure.version()


async def test_tls_1_2_is_served_unless_1_3_is_the_lowest(wire: str) -> None:
    async with picker(*ENDPOINT) as process:
        assert await asyncio.to_thread(handshake, process.grpc, ssl.TLSVersion.TLSv1_2) == "TLSv1.2"
        assert await asyncio.to_thread(handshake, process.grpc, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    if wire == "portable":
        told = await asyncio.to_thread(run_headgate, "picker", *ENDPOINT, *NO_PORTS, "--tls-min-version=1.3")
        assert told.returncode == 1
        (line,) = told.stderr.strip().splitlines()
        assert "the portable wire cannot refuse TLS below 1.3" in line
        return
    for spelling in ("1.3", "VersionTLS13"):
        async with picker(*ENDPOINT, "--tls-min-version", spelling) as process:
            assert await asyncio.to_thread(handshake, process.grpc, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
            with pytest.raises(ssl.SSLError, match=r"(?i)version"):
                await asyncio.to_thread(handshake, process.grpc, ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize(
    ("file", "content", "why"),
    [
        ("tls.key", b"", "no private key"),
        ("ca.pem", b"", "no certificates"),
        ("tls.crt", None, "No such file"),
    ],
)
async def test_a_bad_file_is_named_in_one_line(
    wire: str, tmp_path: Path, file: str, content: bytes | None, why: str
) -> None:
    server = Authority()
    folder = write_pair(tmp_path / "pair", server.sign("picker"))
    (folder / "ca.pem").write_bytes(server.pem)
    (folder / file).unlink() if content is None else (folder / file).write_bytes(content)
    files = ("--cert-path", str(folder), "--tls-client-ca", str(folder / "ca.pem"))
    told = await asyncio.to_thread(run_headgate, "picker", *ENDPOINT, *NO_PORTS, *files)
    assert (told.returncode, told.stdout) == (1, "")
    (line,) = told.stderr.strip().splitlines()
    assert str(folder / file) in line
    assert why in line


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--tls-min-version", "VersionTLS11"), "'VersionTLS11' is no TLS version"),
        (("--tls-client-ca", "ca.pem", "--secure-serving=false"), "need --secure-serving"),
        (("--tls-min-version", "1.3", "--secure-serving=false"), "need --secure-serving"),
        (("--wire-threads", "0"), "'--wire-threads'"),
    ],
)
async def test_what_cannot_be_meant_is_refused(arguments: tuple[str, ...], said: str) -> None:
    told = await asyncio.to_thread(run_headgate, "picker", *ENDPOINT, *NO_PORTS, *arguments)
    assert told.returncode == 2
    assert said in told.stderr


def threads(pid: int) -> int:
    """How many transport threads of the native wire a process has."""
    names = [file.read_text().strip() for file in Path(f"/proc/{pid}/task").glob("*/comm")]
    return names.count("headgate-wire")


async def test_transport_threads_are_as_many_as_asked_for(wire: str) -> None:
    async with picker(*ENDPOINT) as process:
        assert threads(process.child.process.pid) == (1 if wire == "native" else 0)
        assert not [line for line in process.child.err if "--wire-threads" in line]
    async with picker(*ENDPOINT, "--wire-threads", "3", "--secure-serving=false") as process:
        await process.until_ready()
        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{process.grpc}") as channel:
            assert await channel.unary_unary(CHECK)(b"", timeout=10) == SERVING
        assert threads(process.child.process.pid) == (3 if wire == "native" else 0)
        warned = [line for line in process.child.err if "--wire-threads has no effect" in line]
        assert len(warned) == (0 if wire == "native" else 1)


@pytest.mark.parametrize(("host", "warned"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_a_picker_that_all_may_reach_says_what_that_means(host: str, warned: bool) -> None:
    child = Child([*HEADGATE, "picker", *ENDPOINT, *NO_PORTS, "--host", host, "--no-secure-serving"])
    try:
        child.wait_for(lambda line: line.startswith("picker: "))
        if warned:
            eventually(lambda: "asks nobody who they are" in "\n".join(child.err))
    finally:
        child.stop()
    assert ("asks nobody who they are" in "\n".join(child.err)) == warned
