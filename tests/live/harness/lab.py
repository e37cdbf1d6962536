"""A gateway over echoing backends: objects in short, `headgate run`, requests over TLS."""

import asyncio
import base64
import contextlib
import ssl
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from tests import manifests as manifest
from tests.live.harness.certificates import Authority, write_pair
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import free_port
from tests.manifests import Manifest

from headgate.io.extproc.tls import KeyPair


def secret(name: str, pair: KeyPair) -> Manifest:
    data = {
        "tls.crt": base64.b64encode(pair.chain).decode(),
        "tls.key": base64.b64encode(pair.key).decode(),
    }
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": data}


def authority_ref(name: str) -> Manifest:
    """What names the ConfigMap that `authorities` makes."""
    return {"group": "", "kind": "ConfigMap", "name": name}


def authorities(name: str, authority: Authority) -> Manifest:
    data = {"ca.crt": authority.pem.decode()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def https(name: str, certificate: str, **more: Any) -> dict[str, Any]:
    tls = {"certificateRefs": [{"name": certificate}]}
    return {"name": name, "port": 443, "protocol": "HTTPS", "tls": tls, **more}


def route(name: str, backend: str, *, kind: str = "HTTPRoute", **spec: Any) -> Manifest:
    rule = {"backendRefs": [{"name": backend, "port": 80}]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": "gate"}], "rules": [rule], **spec},
    }


def gate(*listeners: dict[str, Any], **spec: Any) -> Manifest:
    return manifest.manifest(
        "Gateway", "gate", {"gatewayClassName": "headgate", "listeners": list(listeners), **spec}
    )


class Lab:
    """A running gateway with an HTTPS port."""

    def __init__(self, running: Gateway, port: int, folder: Path) -> None:
        self.running, self.port, self.folder = running, port, folder

    async def ask(
        self,
        host: str,
        ca: Authority,
        *,
        sni: str | None = None,
        shows: KeyPair | None = None,
        path: str = "/",
    ) -> tuple[int, Any]:
        """Status and JSON of a request for *host*. Raises aiohttp.ClientError when TLS fails."""
        context = ssl.create_default_context(cadata=ca.pem.decode())
        if shows is not None:
            folder = write_pair(self.folder / "client", shows)
            context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        async with (
            aiohttp.ClientSession() as http,
            http.get(
                f"https://127.0.0.1:{self.port}{path}",
                ssl=context,
                server_hostname=sni or host,
                headers={"host": host},
            ) as answer,
        ):
            return answer.status, await answer.json(content_type=None)


@contextlib.asynccontextmanager
async def lab(
    folder: Path, *objects: Manifest, whole: bool = False, options: Sequence[str] = ()
) -> AsyncIterator[Lab]:
    """`headgate run` with these objects in `m.yaml`, or with the *whole* folder, started and ended off the loop
    that serves the backends; *options* are further ones of its command line."""
    file = folder / "m.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    port = free_port()
    with contextlib.ExitStack() as stack:
        started = gateway("-f", str(folder if whole else file), "--https-port", str(port), *options)
        running = await asyncio.to_thread(stack.enter_context, started)
        try:
            yield Lab(running, port, folder)
        finally:
            await asyncio.to_thread(stack.close)
