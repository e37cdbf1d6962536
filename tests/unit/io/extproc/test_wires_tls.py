"""Both wires' certificates while they run."""

import asyncio
import datetime
import socket
import ssl
from pathlib import Path

import pytest
from tests.served import WIRES, Scripted, serving

from headgate.io.extproc.tls import CertificateFiles, Certificates, KeyPair, self_signed


def new_pair() -> KeyPair:
    return self_signed(datetime.datetime.now(datetime.UTC))


def write(folder: Path, pair: KeyPair) -> None:
    (folder / "tls.key").write_bytes(pair.key)
    (folder / "tls.crt").write_bytes(pair.chain)


def shown(port: int, own: Path | None = None) -> str | None:
    """The server's certificate, PEM; None: it does not want us."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if own is not None:
        context.load_cert_chain(own / "tls.crt", own / "tls.key")
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as plain, context.wrap_socket(plain) as secure:
            der = secure.getpeercert(binary_form=True)
            # A client's certificate is judged after the handshake.
            assert secure.recv(1)
    except (OSError, AssertionError):
        return None
    assert der is not None
    return ssl.DER_cert_to_PEM_cert(der)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_new_certificate_and_new_authorities_are_used(wire: str, tmp_path: Path) -> None:
    ours, first, second = tmp_path / "ours", tmp_path / "first", tmp_path / "second"
    before, after, clients = new_pair(), new_pair(), [new_pair(), new_pair()]
    for folder, pair in ((ours, before), (first, clients[0]), (second, clients[1])):
        folder.mkdir()
        write(folder, pair)
    (tmp_path / "ca.pem").write_bytes(clients[0].chain)
    certificates = Certificates(files=CertificateFiles(ours, tmp_path / "ca.pem"), reload=True)
    async with serving(wire, Scripted(), certificates=certificates) as served:
        assert await asyncio.to_thread(shown, served.port, first) == before.chain.decode()
        assert await asyncio.to_thread(shown, served.port, second) is None
        write(ours, after)
        (tmp_path / "ca.pem").write_bytes(clients[1].chain)
        for _ in range(100):
            if await asyncio.to_thread(shown, served.port, second) == after.chain.decode():
                break
            await asyncio.sleep(0.1)
        else:
            pytest.fail("the new files are not used")
        assert await asyncio.to_thread(shown, served.port, first) is None
