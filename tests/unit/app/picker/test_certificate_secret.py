"""The picker's certificate from a Secret: waited for, followed, and never given up for what is none."""

import asyncio
import datetime
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from tests.api_server import ApiServer
from tests.served import WIRES, Scripted, serving
from tests.unit.io.extproc.test_wires_tls import shown, write

from headgate.app.picker import certificate_secret
from headgate.app.picker.certificate_secret import CertificateSecret
from headgate.app.picker.process import Tls
from headgate.io.extproc.tls import KeyPair
from headgate.io.kube.authority import Signed, new_authority, sign_client, sign_server
from headgate.io.kube.config import Access

NOW = datetime.datetime.now(datetime.UTC)
AUTHORITY = new_authority(NOW)


def put(api: ApiServer, signed: Signed, **other: str) -> None:
    meta = {"name": "tls", "namespace": "ns"}
    api.put({"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {**signed.data(), **other}})


async def eventually(what: str, reached: Callable[[], bool]) -> None:
    for _ in range(200):
        if await asyncio.to_thread(reached):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(what)


@pytest.mark.parametrize("wire", WIRES)
async def test_only_who_shows_a_certificate_of_its_authority_is_heard(wire: str, tmp_path: Path) -> None:
    client, stranger = (
        sign_client(AUTHORITY, "infra/gate", NOW),
        sign_client(new_authority(NOW), "infra/gate", NOW),
    )
    for name, each in (("client", client), ("stranger", stranger)):
        (tmp_path / name).mkdir()
        write(tmp_path / name, KeyPair(each.key, each.certificate))
    first, second = (sign_server(AUTHORITY, ["picker"], NOW) for _ in range(2))
    async with ApiServer().running() as api, AsyncExitStack() as stack:
        put(api, first)
        access = Access(server=api.url, namespace="ns")
        certificates = await Tls(secret="tls").certificates(access, stack)
        async with serving(wire, Scripted(), certificates=certificates) as served:
            assert (
                await asyncio.to_thread(shown, served.port, tmp_path / "client") == first.certificate.decode()
            )
            assert await asyncio.to_thread(shown, served.port, tmp_path / "stranger") is None
            assert await asyncio.to_thread(shown, served.port) is None
            put(api, second)
            await eventually(
                "the new certificate",
                lambda: shown(served.port, tmp_path / "client") == second.certificate.decode(),
            )
            put(api, second, **{"tls.key": "bm9uZQ=="})
            api.remove({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls", "namespace": "ns"}})
            await asyncio.sleep(0.2)
            assert (
                await asyncio.to_thread(shown, served.port, tmp_path / "client")
                == second.certificate.decode()
            )


async def test_without_clients_certificates_anybody_is_heard() -> None:
    async with ApiServer().running() as api, AsyncExitStack() as stack:
        put(api, sign_server(AUTHORITY, ["picker"], NOW))
        access = Access(server=api.url, namespace="ns")
        certificates = await Tls(secret="tls", asks=False).certificates(access, stack)
        assert certificates.files.current.client_ca is None


async def test_it_is_waited_for(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(certificate_secret, "WAITING_S", 0.05)
    caplog.set_level(logging.WARNING)
    async with ApiServer().running() as api, AsyncExitStack() as stack:
        secret = CertificateSecret("ns", "tls", asks=True)
        opening = asyncio.ensure_future(stack.enter_async_context(secret.opened(Access(server=api.url))))
        await eventually(
            "it to be said", lambda: "waiting for the Secret ns/tls: it is not there" in caplog.text
        )
        api.refused["secrets"] = 403
        api.end_watches()
        await eventually("the server's no to be said", lambda: "secrets is refused" in caplog.text)
        api.refused.clear()
        assert not opening.done()
        put(api, sign_server(AUTHORITY, ["picker"], NOW))
        assert await asyncio.wait_for(opening, 20) is secret
