"""The port of the metrics: tokens, TLS, certificates of readers."""

import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest
from tests.api_server import ApiServer
from tests.live.harness.certificates import Authority, write_pair

from headgate.app.picker.metrics_port import MetricsPort
from headgate.io.kube.config import Access
from headgate.io.web.metrics import PickerMetrics, Reading


def metrics() -> PickerMetrics:
    return PickerMetrics(lambda: Reading((), 0, 0, "native"), lambda *_: False, lambda *_: False)


async def ask(url: str, tls: ssl.SSLContext | None = None, token: str = "") -> tuple[int, str]:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers, ssl=tls or True) as answer:
        return answer.status, await answer.text()


async def test_tokens_are_asked_about() -> None:
    async with ApiServer().running() as api, AsyncExitStack() as stack:
        api.tokens = {"reader": True, "other": False}
        port = MetricsPort(host="0.0.0.0", port=0, access=Access(server=api.url))
        url = f"http://127.0.0.1:{await port.serve(metrics(), stack)}/metrics"
        status, page = await ask(url, token="reader")
        assert status == 200 and "headgate_info" in page
        for token, expected in (("other", 403), ("nobody", 401), ("", 401)):
            status, page = await ask(url, token=token)
            assert status == expected and "headgate_info" not in page
        assert (await ask(f"{url}x", token="nobody"))[0] in (401, 404)


async def test_tls_and_certificates_of_readers(tmp_path: Path) -> None:
    authority, stranger = Authority(), Authority()
    folder = write_pair(tmp_path / "server", authority.sign("localhost"))
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    async with AsyncExitStack() as stack:
        port = MetricsPort(port=0, cert_dir=folder, client_ca=ca)
        url = f"https://localhost:{await port.serve(metrics(), stack)}/metrics"
        for signer, served in ((authority, True), (stranger, False), (None, False)):
            tls = ssl.create_default_context(cafile=str(ca))
            if signer is not None:
                pair = write_pair(tmp_path / f"client-{served}", signer.sign("reader"))
                tls.load_cert_chain(pair / "tls.crt", pair / "tls.key")
            if served:
                assert (await ask(url, tls))[0] == 200
            else:
                with pytest.raises((aiohttp.ClientError, OSError)):
                    await ask(url, tls)


async def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        with pytest.raises(OSError, match=r"tls\.key"):
            await MetricsPort(port=0, cert_dir=tmp_path).serve(metrics(), stack)
        assert await MetricsPort(port=None).serve(metrics(), stack) == 0
