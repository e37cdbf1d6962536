"""The xDS server and a real Envoy: changes under load, a server that restarts, a cluster that is refused."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.xds_resources import Publishing, anybody

from headgate.app.processes.supervise import Child
from headgate.app.run.listen_ports import Ports, settle
from headgate.gateway.xds.versions import Json
from headgate.io.envoy.admin import EnvoyAdmin
from headgate.io.envoy.binary import find_envoy
from headgate.io.envoy.bootstrap import EnvoyOptions, command
from headgate.io.xds.server import XdsServer

pytestmark = pytest.mark.live

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
ADS: Json = {"ads": {}, "resourceApiVersion": "V3"}


def listener(port: int) -> Json:
    manager = {
        "@type": HCM,
        "statPrefix": "lab",
        "rds": {"routeConfigName": "r", "configSource": ADS},
        "httpFilters": [{"name": "envoy.filters.http.router", "typedConfig": {"@type": ROUTER}}],
    }
    filters = [{"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager}]
    address = {"socketAddress": {"address": "127.0.0.1", "portValue": port}}
    return {"name": "l", "address": address, "filterChains": [{"filters": filters}]}


def resources(
    port: int, backend: int, clusters: set[str], used: str, revision: int = 1
) -> dict[str, Mapping[str, Json]]:
    endpoint = {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": backend}}}
    eds = {"edsConfig": ADS}
    host = {
        "name": "all",
        "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": used}}],
    }
    made: dict[str, Mapping[str, Json]] = {
        "cluster": {
            name: {"name": name, "type": "EDS", "edsClusterConfig": eds, "connectTimeout": f"{revision}s"}
            for name in clusters
        },
        "endpoint": {
            name: {"clusterName": name, "endpoints": [{"lbEndpoints": [{"endpoint": endpoint}]}]}
            for name in clusters
        },
        "route": {"r": {"name": "r", "virtualHosts": [host]}},
        "listener": {"l": listener(port)},
    }
    return made


class Lab:
    """Envoy, a backend that says hello, and a client; the xDS server is the test's."""

    def __init__(self, folder: Path, backend: int) -> None:
        ports = settle(Ports(gateway=0, metrics=0, admin=0), "127.0.0.1")
        self.port, self.xds_port, self.backend = ports.gateway, ports.admin, backend
        self.options = EnvoyOptions(binary=find_envoy(), folder=folder, xds_port=self.xds_port, concurrency=1)
        self.said: list[str] = []
        self.envoy = Child(
            "envoy", command(self.options), lambda _, line: self.said.append(line.text), os.environ
        )

    def wanted(self, clusters: set[str], used: str, revision: int = 1) -> dict[str, Mapping[str, Json]]:
        return resources(self.port, self.backend, clusters, used, revision)

    async def until(self, reached: Callable[[], Any], timeout_s: float = 20.0) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                while not reached():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            raise AssertionError("\n".join(self.said)) from None


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[Lab]:
    async def hello(_: web.Request) -> web.Response:
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/", hello)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    made = Lab(tmp_path, runner.addresses[0][1])
    envoy = asyncio.ensure_future(made.envoy.run())
    yield made
    await made.envoy.stop(2.0)
    await asyncio.gather(envoy)
    await runner.cleanup()


@asynccontextmanager
async def serving(lab: Lab, linger_s: float = 0.2) -> AsyncIterator[XdsServer]:
    xds = XdsServer(anybody, linger_s=linger_s)
    await xds.start("127.0.0.1", lab.xds_port)
    try:
        yield xds
    finally:
        await xds.stop()


def settled(xds: XdsServer) -> bool:
    return bool(xds.streams) and xds.streams[0].settled


async def load(lab: Lab, stop: asyncio.Event) -> list[int]:
    """Statuses of requests sent one after the other until *stop*."""
    statuses: list[int] = []
    async with aiohttp.ClientSession() as session:
        while not stop.is_set():
            async with session.get(f"http://127.0.0.1:{lab.port}/") as answer:
                await answer.read()
                statuses.append(answer.status)
    return statuses


async def test_clusters_come_and_go_under_load_without_a_failed_request(lab: Lab) -> None:
    async with serving(lab, linger_s=0.02) as xds:
        publish = Publishing(xds)
        publish(lab.wanted({"c0"}, "c0"))
        await lab.until(lambda: settled(xds))
        stop = asyncio.Event()
        client = asyncio.ensure_future(load(lab, stop))
        for turn in range(1, 101):
            # each turn: a new cluster takes over, the old one goes, the third one's settings change
            publish(lab.wanted({f"c{turn}", "stays"}, f"c{turn}", revision=1 + turn % 5))
            if turn % 3 == 0:  # and sometimes the next change comes before this one has arrived
                await lab.until(lambda: settled(xds))
            else:
                await asyncio.sleep(0.01)
        await lab.until(lambda: settled(xds) and xds.streams[0].held["cluster"] == 2)
        stop.set()
        statuses = await client
    assert len(statuses) > 100
    assert {status: statuses.count(status) for status in set(statuses)} == {200: len(statuses)}
    assert xds.problems == ()


async def test_a_server_that_restarts_sends_only_the_differences(lab: Lab) -> None:
    async with serving(lab) as first:
        Publishing(first)(lab.wanted({"a", "b"}, "a"))
        await lab.until(lambda: settled(first))
    stop = asyncio.Event()
    client = asyncio.ensure_future(load(lab, stop))
    async with AsyncExitStack() as stack:
        second = await stack.enter_async_context(serving(lab))
        await lab.until(lambda: lab.said or not client.done())
        await asyncio.sleep(0.5)
        publish = Publishing(second)
        publish(lab.wanted({"a", "b"}, "a"))
        await lab.until(lambda: settled(second))
        publish(lab.wanted({"b"}, "b"))
        await lab.until(lambda: settled(second) and second.streams[0].held["cluster"] == 1)
        stop.set()
        statuses = await client
        admin = await stack.enter_async_context(EnvoyAdmin(lab.options))
        assert await admin.ready()
        assert await admin.listeners() == (f"127.0.0.1:{lab.port}",)
    assert set(statuses) == {200}


async def test_a_refused_cluster_is_named_with_envoys_message_and_the_rest_is_served(lab: Lab) -> None:
    async with serving(lab) as xds:
        wanted = lab.wanted({"good", "bad"}, "good")
        clusters = {name: dict(content) for name, content in wanted["cluster"].items()}
        clusters["bad"]["connectTimeout"] = "0s"  # Envoy demands more
        publish = Publishing(xds)
        publish({**wanted, "cluster": clusters})
        await lab.until(lambda: settled(xds))
        [problem] = xds.problems
        assert problem.place.object == "cluster bad"
        assert "ConnectTimeout" in problem.message or "connect_timeout" in problem.message, problem
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{lab.port}/") as answer,
        ):
            assert answer.status == 200
        publish(wanted)
        await lab.until(lambda: settled(xds) and not xds.problems)
