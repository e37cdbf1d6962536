"""`headgate controller --kubeconfig` behind a peer that speaks as an API server does, with a real Envoy."""

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from tests import manifests as manifest
from tests.api_server import ApiServer
from tests.live.harness.echo import echoing
from tests.live.harness.picker import picker
from tests.live.harness.processes import HEADGATE, Child, free_port

from headgate.app.processes.supervise import Child as Supervised
from headgate.io.envoy.binary import find_envoy
from headgate.io.envoy.bootstrap import EnvoyOptions, command

pytestmark = pytest.mark.live

CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "headgate"},
    "spec": {"controllerName": "headgate.dev/gateway-controller"},
}


def service(name: str, port: int) -> list[manifest.Manifest]:
    """A Service with one ready endpoint, 127.0.0.1 and *port*."""
    made = manifest.foreign_picker(name, port)
    made[0]["spec"] = {"ports": [{"port": 80, "targetPort": port}]}
    return made


def route(name: str, path: str, backend: str) -> manifest.Manifest:
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": path}}],
        "backendRefs": [{"name": f"{backend}-epp", "port": 80}],
    }
    return manifest.route(rule, name=name)


def status(api: ApiServer, plural: str, name: str) -> Any:
    """What was written into an object's status."""
    return (api.get(plural, name) or {}).get("status", {})


class Cluster:
    """The API server, the controller on it, and the Envoy of the Gateway default/gate."""

    def __init__(self, api: ApiServer, folder: Path) -> None:
        self.api, self.folder = api, folder
        self.port, self.xds_port, self.admin_port = free_port(), free_port(), free_port()
        self.controller: Child | None = None
        self.kubeconfig = folder / "kubeconfig"
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k"}}],
            "clusters": [{"name": "k", "cluster": {"server": api.url}}],
        }
        self.kubeconfig.write_text(yaml.safe_dump(config))

    def start(self) -> Child:
        options = {"port-map": f"80:{self.port}", "xds-port": self.xds_port, "admin-port": self.admin_port}
        ports = [part for name, value in options.items() for part in (f"--{name}", str(value))]
        self.controller = Child([*HEADGATE, "controller", "--kubeconfig", str(self.kubeconfig), *ports])
        return self.controller

    async def stop(self) -> None:
        if self.controller is not None:
            await asyncio.to_thread(self.controller.stop)
            self.controller = None

    async def answers(self, path: str, name: str) -> None:
        """Ask until the backend called *name* answers."""
        told: object = None
        try:
            async with asyncio.timeout(30), aiohttp.ClientSession() as http:
                while told != name:
                    told = await self.ask(http, path)
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{path} was answered with {told!r}; {self.controller}") from None

    async def ask(self, http: aiohttp.ClientSession, path: str) -> Any:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            async with http.get(f"http://127.0.0.1:{self.port}{path}") as answer:
                told = await answer.json(content_type=None)
                return told.get("name", answer.status)
        return None


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with ApiServer().running() as api:
        made = Cluster(api, tmp_path)
        options = EnvoyOptions(
            binary=find_envoy(), folder=tmp_path, xds_port=made.xds_port, concurrency=1, node="default/gate"
        )
        envoy = Supervised("envoy", command(options), lambda *_: None, os.environ)
        running = asyncio.ensure_future(envoy.run())
        try:
            yield made
        finally:
            await made.stop()
            await envoy.stop(2.0)
            await running


def attached(api: ApiServer) -> list[int]:
    """Attached routes of each listener of the Gateway, as its status says."""
    return [each["attachedRoutes"] for each in status(api, "gateways", "gate").get("listeners", ())]


async def test_a_gateway_of_a_cluster_is_served_and_stays_so_while_the_api_server_is_away(
    cluster: Cluster,
) -> None:
    api = cluster.api
    async with echoing("one") as one, echoing("two") as two:
        for each in (
            CLASS,
            manifest.gateway(),
            route("a", "/a", "one"),
            *service("one", one),
            *service("two", two),
        ):
            api.put(each)
        cluster.start()
        await cluster.answers("/a", "one")
        api.put(route("b", "/b", "two"))
        await cluster.answers("/b", "two")
        async with asyncio.timeout(10):
            while not (parents := status(api, "httproutes", "b").get("parents")):
                await asyncio.sleep(0.05)
            while attached(api) != [2]:  # writes are gathered: the first may tell of one
                await asyncio.sleep(0.05)
        assert [each["status"] for each in parents[0]["conditions"]] == ["True", "True"]

        api.away = True
        api.end_watches()
        api.remove(route("b", "/b", "two"))
        api.put(route("c", "/c", "one"))
        await cluster.stop()
        restarted = cluster.start()
        async with aiohttp.ClientSession() as http:
            async with asyncio.timeout(30):
                while not any("waiting for the API server" in line for line in restarted.err):
                    assert await cluster.ask(http, "/b") == "two"
                    await asyncio.sleep(0.1)
        api.away = False
        await cluster.answers("/c", "one")
        async with aiohttp.ClientSession() as http:
            assert await cluster.ask(http, "/a") == "one"
            assert await cluster.ask(http, "/b") == 404


async def test_an_envoy_of_no_gateway_is_not_served(cluster: Cluster) -> None:
    cluster.api.put(manifest.gateway("other"))
    controller = cluster.start()
    async with asyncio.timeout(30):
        while not any("'default/gate'" in line and "not served here" in line for line in controller.err):
            await asyncio.sleep(0.05)


async def test_explain_finds_what_the_controller_remembers_beside_a_picker(cluster: Cluster) -> None:
    async with echoing("one") as one:
        for each in (CLASS, manifest.gateway(), route("a", "/a", "one"), *service("one", one)):
            cluster.api.put(each)
        cluster.start()
        await cluster.answers("/a", "one")
        async with picker("--endpoints", f"127.0.0.1:{one}") as other:
            admins = [f"http://127.0.0.1:{each}" for each in (other.admin, cluster.admin_port)]

            async def explain(name: str, *admins: str) -> subprocess.CompletedProcess[str]:
                options = [part for each in admins for part in ("--admin", each)]
                command = [*HEADGATE, "explain", name, *options]
                return await asyncio.to_thread(
                    subprocess.run, command, capture_output=True, text=True, timeout=30, check=False
                )

            asked = {"x-request-id": "lost-1"}
            async with aiohttp.ClientSession(headers=asked) as http:
                assert await cluster.ask(http, "/nowhere") == 404
            async with asyncio.timeout(20):
                while (found := await explain("lost-1", *admins)).returncode:
                    await asyncio.sleep(0.1)
            assert "404 no-route" in found.stdout and "/a" in found.stdout
            assert (await explain("lost-1", admins[0])).returncode == 1
            unknown = await explain("lost-2", *admins)
            assert unknown.returncode == 1 and "remember" in unknown.stderr
            gone = await explain("lost-2", *admins, f"http://127.0.0.1:{free_port()}")
            assert gone.returncode == 1 and "no gateway answers" in gone.stderr
