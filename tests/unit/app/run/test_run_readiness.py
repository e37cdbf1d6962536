"""When a gateway may be called ready: its processes are stood in for by servers that say what is asked of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from headgate.app.run.listen_ports import Ports
from headgate.app.run.readiness import Readiness, answers, ask
from headgate.app.run.settings import Folder, RunSettings, envoy_options
from headgate.io.envoy.admin import EnvoyAdmin

FIRST, SECOND = (1, 2), (1, 3)
"""Process ids of Envoy and the picker, before and after the picker was started again."""


class Processes:
    """Envoy's admin and its listeners, the picker and the controller; each answers as it is told to."""

    def __init__(self, folder: Folder, envoy_admin: Path) -> None:
        self.envoy = self.picker = self.pool = self.health = 200
        self.settled = True
        self.models: Any = {"data": [{"id": "m"}]}
        self.asked: list[str] = []
        """Pools that were asked whether they answer."""
        self.port = 0
        self._sockets = {
            envoy_admin: self._envoy,
            folder.picker_socket: self._picker,
            folder.controller_socket: self._controller,
            folder.probe_socket: self._probe,
        }
        self._runners: list[web.AppRunner] = []

    async def start(self) -> None:
        for path, handler in self._sockets.items():
            await web.UnixSite(await self._runner(handler), path).start()
        gateway = await self._runner(self._gateway)
        await web.TCPSite(gateway, "127.0.0.1", 0).start()
        self.port = int(gateway.addresses[0][1])

    async def stop(self, only: Path | None = None) -> None:
        for runner in self._runners:
            if only is None or str(only) in runner.addresses:
                await runner.cleanup()

    async def _runner(self, handler: Any) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/{path:.*}", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        self._runners.append(runner)
        return runner

    async def _envoy(self, _: web.Request) -> web.Response:
        return web.Response(text="LIVE", status=self.envoy)

    async def _picker(self, _: web.Request) -> web.Response:
        return web.json_response({}, status=self.picker)

    async def _controller(self, _: web.Request) -> web.Response:
        pools = [{"key": "d/own", "endpoints": ["a:1"], "picker": None}]
        summary = {"listeners": [{"port": self.port}], "pools": pools}
        return web.json_response({"settled": self.settled, "summary": summary, "problems": []})

    async def _probe(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers["x-headgate-pool"])
        return web.Response(status=self.pool)

    async def _gateway(self, request: web.Request) -> web.Response:
        if request.path == "/headgate/healthz":
            return web.Response(status=self.health)
        if isinstance(self.models, str):
            return web.Response(status=503, headers={"x-headgate-reason": self.models})
        return web.json_response(self.models)


@pytest.fixture
async def made(tmp_path: Path) -> AsyncIterator[tuple[Processes, Readiness, Folder]]:
    folder = Folder(tmp_path)
    options = envoy_options(RunSettings(), folder, Path(), 1)
    processes = Processes(folder, options.admin_socket)
    await processes.start()
    settings = RunSettings(ports=Ports(gateway=processes.port), host="127.0.0.1")
    async with EnvoyAdmin(options) as admin:
        yield processes, Readiness(settings, folder, admin), folder
    await processes.stop()


Made = tuple[Processes, Readiness, Folder]


async def test_processes_that_call_themselves_ready_are_not_enough(made: Made) -> None:
    processes, readiness, _ = made
    processes.pool = 503
    assert await readiness.missing(FIRST) == ["pool d/own"]
    assert not readiness.reached
    processes.pool, processes.health = 200, 404
    assert await readiness.missing(FIRST) == [f"port {processes.port}"]
    processes.health, processes.models = 200, "picker-failed"
    assert await readiness.missing(FIRST) == [f"port {processes.port}"]
    processes.models = "connect-failure"  # a model server's matter, not the gateway's
    assert await readiness.missing(FIRST) == []
    assert readiness.reached


async def test_the_models_that_the_gateway_lists_are_kept(made: Made) -> None:
    _, readiness, _ = made
    assert await readiness.missing(FIRST) == []
    assert readiness.models == ["m"]


async def test_who_was_started_again_is_asked_again_and_nobody_else(made: Made) -> None:
    processes, readiness, _ = made
    for _ in range(3):
        assert await readiness.missing(FIRST) == []
    assert processes.asked == ["d/own"]
    processes.pool = 503
    assert await readiness.missing(FIRST) == []
    assert await readiness.missing(SECOND) == ["pool d/own"]
    processes.pool = 200
    assert await readiness.missing(SECOND) == []
    assert processes.asked == ["d/own"] * 3


async def test_what_says_that_it_is_not_ready_is_named(made: Made) -> None:
    processes, readiness, _ = made
    processes.envoy, processes.picker, processes.settled = 503, 503, False
    assert await readiness.missing(FIRST) == ["envoy", "picker", "controller"]
    assert processes.asked == []


async def test_a_gateway_that_serves_needs_no_controller(made: Made) -> None:
    processes, readiness, folder = made
    assert await readiness.missing(FIRST) == []
    await processes.stop(folder.controller_socket)
    assert not await answers(folder.controller_socket, "/readyz")
    assert await ask(folder.controller_socket, "/v1/status") is None
    assert await readiness.missing(FIRST) == []
    assert await readiness.missing(SECOND) == []
    assert processes.asked == ["d/own"] * 2
