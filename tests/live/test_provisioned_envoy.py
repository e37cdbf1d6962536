"""The bootstrap that Envoys get on a cluster, run by a real Envoy: mutual TLS, readiness, drain, new certificates."""

import asyncio
import base64
import datetime
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from tests.live.harness.processes import free_port
from tests.live.test_xds import resources
from tests.served import WIRES, Scripted, serving
from tests.xds_resources import Publishing

from headgate.app.processes.supervise import Child
from headgate.gateway.envoy import clusters, mutual_tls
from headgate.gateway.envoy.bootstrap import ARGUMENTS
from headgate.gateway.plan.classes import ALL
from headgate.gateway.provision import bootstrap
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.xds.versions import Json
from headgate.io.envoy.binary import find_envoy
from headgate.io.extproc.tls import CertificateFiles, Certificates
from headgate.io.kube.authority import Signed, new_authority, sign_client, sign_server, uri_of
from headgate.io.xds.server import XdsServer

pytestmark = pytest.mark.live

TARGET = "infra/gate"
DRAIN = "/drain/unguessable"


class Lab:
    """An authority, an xDS server with a certificate of it, and an Envoy."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.ready_port, self.xds_port = free_port(), free_port(), free_port()
        self.now = datetime.datetime.now(datetime.UTC)
        self.authority = new_authority(self.now)
        self.shown = sign_server(self.authority, ["127.0.0.1"], self.now)
        self.xds = XdsServer(lambda _: ALL)
        self.said: list[str] = []

    def show(self, signed: Signed) -> None:
        """Put the Envoy's certificate in place as the kubelet does: all files at once."""
        version = self.folder / f"tls-{os.urandom(4).hex()}"
        version.mkdir()
        for name, value in (
            ("tls.crt", signed.certificate),
            ("tls.key", signed.key),
            ("ca.crt", signed.authorities),
        ):
            (version / name).write_bytes(value)
        link = self.folder / "tls" / "..data"
        link.parent.mkdir(exist_ok=True)
        fresh = self.folder / "tls" / "..new"
        fresh.symlink_to(version)
        fresh.replace(link)
        for name in ("tls.crt", "tls.key", "ca.crt"):
            if not (self.folder / "tls" / name).exists():
                (self.folder / "tls" / name).symlink_to(Path("..data") / name)

    @asynccontextmanager
    async def envoy(self, drain_s: int = 1) -> AsyncIterator[None]:
        files = {
            "envoy.json": bootstrap.bootstrap(TARGET, "127.0.0.1", self.xds_port, 1 << 30, drain_s, DRAIN),
            **mutual_tls.secrets(),
        }
        for name, each in files.items():
            text = json.dumps(each).replace(mutual_tls.CERTIFICATES, str(self.folder / "tls"))
            text = text.replace(mutual_tls.SECRETS, str(self.folder)).replace(
                bootstrap.ADMIN, str(self.folder / "a.sock")
            )
            text = text.replace(f'"portValue": {bootstrap.READY_PORT}', f'"portValue": {self.ready_port}')
            (self.folder / name).write_text(text)
        args = [
            str(find_envoy()),
            "-c",
            str(self.folder / "envoy.json"),
            "--concurrency",
            "1",
            "--log-level",
            "warning",
            *ARGUMENTS,
        ]
        child = Child("envoy", args, lambda _, line: self.said.append(line.text), os.environ)
        running = asyncio.ensure_future(child.run())
        try:
            yield
        finally:
            await child.stop(2.0)
            await running

    async def get(self, path: str, port: int | None = None) -> int:
        """Status of an answer; 0: nobody answers."""
        try:
            async with (
                aiohttp.ClientSession() as http,
                http.get(f"http://127.0.0.1:{port or self.ready_port}{path}") as answer,
            ):
                await answer.read()
                return answer.status
        except aiohttp.ClientError:
            return 0

    async def until(self, path: str, status: int, port: int | None = None) -> None:
        try:
            async with asyncio.timeout(30):
                while await self.get(path, port) != status:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError("\n".join(self.said[-10:])) from None


def wanted(port: int) -> "dict[str, dict[str, Json]]":
    """A listener that answers by itself."""
    found = {kind: dict(each) for kind, each in resources(port, 1, {"c"}, "c").items()}
    host = found["route"]["r"]["virtualHosts"][0]
    found["route"] = {
        "r": {
            "name": "r",
            "virtualHosts": [
                {**host, "routes": [{"match": {"prefix": "/"}, "directResponse": {"status": 204}}]}
            ],
        }
    }
    return found


async def test_it_is_ready_when_it_was_told_what_to_serve_and_drains_when_it_is_asked(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.show(sign_client(lab.authority, TARGET, lab.now))
    async with lab.envoy():
        await asyncio.sleep(1)
        assert await lab.get("/ready") != 200, "it was told nothing yet"
        await lab.xds.start_tls("127.0.0.1", lab.xds_port, lambda: lab.shown, uri_of)
        try:
            Publishing(lab.xds)(wanted(lab.port))
            await lab.until("/ready", 200)
            assert await lab.get("/", lab.port) == 204
            assert await lab.get("/stats/prometheus") == 200
            assert await lab.get("/quitquitquit") == 404 and await lab.get("/drain/guessed") == 404
            async with aiohttp.ClientSession() as http:
                asked = asyncio.ensure_future(lab.get(DRAIN))
                closing = False
                while not asked.done():
                    async with http.get(f"http://127.0.0.1:{lab.port}/") as answer:
                        assert answer.status == 204
                        closing |= answer.headers.get("connection") == "close"
                    await asyncio.sleep(0.02)
                assert await asked == 200 and closing, (
                    "clients are told to go elsewhere, and served meanwhile"
                )
        finally:
            await lab.xds.stop()


async def test_a_new_authority_is_taken_over_without_a_restart(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.show(sign_client(lab.authority, TARGET, lab.now))
    async with lab.envoy():
        await lab.xds.start_tls("127.0.0.1", lab.xds_port, lambda: lab.shown, uri_of)
        publish = Publishing(lab.xds)
        publish(wanted(lab.port))
        await lab.until("/", 204, lab.port)
        after = new_authority(lab.now, lab.authority)
        lab.show(sign_client(after, TARGET, lab.now))
        lab.shown = sign_server(after, ["127.0.0.1"], lab.now)
        await lab.xds.stop()
        lab.xds = XdsServer(lambda _: ALL)
        await lab.xds.start_tls("127.0.0.1", lab.xds_port, lambda: lab.shown, uri_of)
        try:
            other = free_port()
            found = wanted(lab.port)
            found["listener"]["l2"] = {**wanted(other)["listener"]["l"], "name": "l2"}
            Publishing(lab.xds)(found)
            await lab.until("/", 204, other)
        finally:
            await lab.xds.stop()


async def test_the_certificate_of_another_gateway_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(tmp_path)
    lab.show(sign_client(lab.authority, "infra/other", lab.now))
    await lab.xds.start_tls("127.0.0.1", lab.xds_port, lambda: lab.shown, uri_of)
    try:
        Publishing(lab.xds)(wanted(lab.port))
        async with lab.envoy(), asyncio.timeout(30):
            while "certificate of another" not in caplog.text:
                await asyncio.sleep(0.05)
            assert lab.xds.streams == () and await lab.get("/", lab.port) == 0
    finally:
        await lab.xds.stop()


@pytest.mark.parametrize("wire", WIRES)
async def test_our_own_picker_is_asked_by_mutual_tls(wire: str, tmp_path: Path) -> None:
    """Envoy shows the picker its own certificate, and speaks to nobody whose certificate names another."""
    lab = Lab(tmp_path)
    lab.show(sign_client(lab.authority, TARGET, lab.now))
    (tmp_path / "picker").mkdir()
    served_as = sign_server(lab.authority, ["picker.system.svc"], lab.now)
    for name, value in served_as.data().items():
        (tmp_path / "picker" / name).write_bytes(base64.b64decode(value))
    files = CertificateFiles(tmp_path / "picker", tmp_path / "picker" / "ca.crt")
    asked = {"content-type": "application/grpc", "te": "trailers"}
    async with serving(wire, Scripted(), certificates=Certificates(files=files)) as served, lab.envoy():
        await lab.xds.start_tls("127.0.0.1", lab.xds_port, lambda: lab.shown, uri_of)
        try:
            found = wanted(lab.port)
            routes = []
            for path, name in (("/as-it-is", "picker.system.svc"), ("/another", "other.system.svc")):
                told = GatewaySettings(picker_address=f"127.0.0.1:{served.port}", picker_name=name)
                text = json.dumps({**clusters.own_picker(told), "name": name})
                found["cluster"][name] = json.loads(text.replace(mutual_tls.SECRETS, str(tmp_path)))
                to = {"cluster": name, "prefixRewrite": "/grpc.health.v1.Health/Check"}
                routes.append({"match": {"prefix": path}, "route": to})
            (host,) = found["route"]["r"]["virtualHosts"]
            found["route"] = {
                "r": {"name": "r", "virtualHosts": [{**host, "routes": [*routes, *host["routes"]]}]}
            }
            Publishing(lab.xds)(found)
            await lab.until("/", 204, lab.port)
            url = f"http://127.0.0.1:{lab.port}"
            async with aiohttp.ClientSession(headers=asked) as http:
                async with http.post(f"{url}/as-it-is", data=bytes(5)) as answer:
                    assert "grpc-status" not in answer.headers and len(await answer.read()) > 5
                async with http.post(f"{url}/another", data=bytes(5)) as answer:
                    assert answer.headers["grpc-status"] == "14"
        finally:
            await lab.xds.stop()
