"""The port of the metrics: by whom it may be read, and how it is encrypted."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import msgspec
from aiohttp import web

from headgate.app.picker.admin import Site, metrics_app, serve_tcp
from headgate.io.extproc.tls import CHAIN, KEY, CertificateFiles
from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.reviews import Reviews
from headgate.io.web.metrics import PickerMetrics

log = logging.getLogger(__name__)

PATH = "/metrics"


class MetricsPort(msgspec.Struct, frozen=True, kw_only=True):
    """Where and for whom the metrics are served."""

    host: str = "127.0.0.1"
    port: int | None = 9090
    """0: any free one; None: no metrics."""
    cert_dir: Path | None = None
    """With `tls.crt` and `tls.key`, followed; None: plain text."""
    client_ca: Path | None = None
    """PEM file: readers must show a certificate signed by one of these."""
    access: Access | None = None
    """The cluster whose API server is asked who may read; None: whoever reaches the port."""

    async def serve(self, metrics: PickerMetrics, stack: AsyncExitStack) -> int:
        """The port; 0 for none. It is served until *stack* is closed.

        Raises:
            OSError: the port is taken, or a file cannot be read.
            ValueError: a file does not hold what it should.
        """
        if self.port is None:
            return 0
        context = await asyncio.to_thread(self._context, stack)
        allowed = None
        if self.access is not None:
            client = await stack.enter_async_context(KubeClient(self.access))
            allowed = Reviews(client, PATH, asyncio.get_running_loop().time).status
        app = metrics_app(metrics, self.host)
        if allowed is not None:
            app.middlewares.append(_asking(allowed))
        site: Site = await serve_tcp(app, self.host, self.port, context)
        stack.push_async_callback(site.close)
        return site.port

    def _context(self, stack: AsyncExitStack) -> ssl.SSLContext | None:
        folder = self.cert_dir
        if folder is None:
            return None
        files = CertificateFiles(folder, self.client_ca)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(folder / CHAIN, folder / KEY)
        if self.client_ca is not None:
            context.load_verify_locations(self.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        files.follow(lambda _: context.load_cert_chain(folder / CHAIN, folder / KEY))
        stack.callback(files.stop)
        return context


def _asking(allowed: Callable[[str], Awaitable[int]]) -> Callable[..., Awaitable[web.StreamResponse]]:
    @web.middleware
    async def asked(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        status = await allowed(request.headers.get("authorization", ""))
        if status == 200:
            return await handler(request)
        headers = {"www-authenticate": "Bearer"} if status == 401 else {}
        words = {
            401: "a token of the cluster is needed: Authorization: Bearer TOKEN\n",
            403: f"this token may not get the nonResourceURL {PATH}\n",
        }
        return web.Response(
            status=status, text=words.get(status, "who may read cannot be asked\n"), headers=headers
        )

    return asked
