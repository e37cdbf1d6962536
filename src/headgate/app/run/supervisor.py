"""`headgate run`: supervises Envoy, the controller and the picker, and answers for the three."""

import asyncio
import contextlib
import logging
import os
import resource
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from headgate import __version__
from headgate.app.processes.ending import on_ending
from headgate.app.processes.lines import Line, event
from headgate.app.processes.supervise import Child
from headgate.app.run.folder import private_folder
from headgate.app.run.listen_ports import settle
from headgate.app.run.readiness import Readiness, answers, ask
from headgate.app.run.settings import (
    Folder,
    RunSettings,
    controller_command,
    envoy_options,
    picker_command,
)
from headgate.app.run.view import cut_off_line, degraded, drain_line, nobody_serves, public_url
from headgate.io.api_keys import KeyFile
from headgate.io.envoy.access_pipe import AccessPipe
from headgate.io.envoy.admin import EnvoyAdmin
from headgate.io.envoy.binary import find_envoy
from headgate.io.envoy.bootstrap import command as envoy_command
from headgate.io.sources.probe import ProbeResult, probe
from headgate.io.sources.urls import normalise_all
from headgate.io.trust import default_trust
from headgate.io.web import gateway_metrics
from headgate.io.web.admin import AdminServer, Handler, Reply, failure, fetch, reply
from headgate.model.api_keys import ApiKey

log = logging.getLogger("headgate.run")

POLL_S = 0.05
SLOW_START_S = 10.0
LATE_PROBE_S = 2.0
"""Between two questions to model servers that have not answered yet."""
CHILD_GRACE_S = 5.0
ECHO_S = 1.0
"""A SIGTERM so soon after the first signal is its echo: a wrapper passes on what its whole group was sent."""
PIPE_GRACE_S = 2.0
"""Longest wait at the end for the last lines of the access log."""
ENDED_BY_FORCE = 130


class Reporter(Protocol):
    """Who tells the user; the command line has one for text and one for JSON."""

    def probed(self, results: tuple[ProbeResult, ...]) -> None:
        """The model servers given by URL were asked who they are."""

    def ready(self, info: Mapping[str, Any]) -> None:
        """The gateway answers: `url`, `admin`, `ports`, `pids`, `model`, `pools`, `problems`, `listeners`."""

    def joined(self, result: ProbeResult) -> None:
        """A model server given by URL that did not answer at the start answers now."""

    def said(self, name: str, line: Line) -> None:
        """One of our processes told of an event; `headgate` is the supervisor itself."""


class Supervisor:
    """One `headgate run`. `run` returns the exit code."""

    def __init__(
        self,
        settings: RunSettings,
        reporter: Reporter,
        log_requests: Callable[[bytes], None] | None = None,
    ) -> None:
        """Ports are settled and Envoy is found by `run`.

        *log_requests* gets whole lines of the access log where the settings send it to standard output, on a
        thread of its own; it must not wait.
        """
        self._log_requests = log_requests
        self._settings = settings
        self._reporter = reporter
        self._children: dict[str, Child] = {}
        self._envoy: EnvoyAdmin | None = None
        self._folder = Folder(Path())
        self._keys = KeyFile(settings.api_key_file) if settings.api_key_file is not None else None
        self._stop = asyncio.Event()
        self._force = asyncio.Event()
        self._waits_for: list[str] = []
        self._readiness: Readiness | None = None
        self._started_at = 0.0
        self._stop_asked_at = 0.0

    async def run(self) -> int:
        """Serve until a signal; the exit code.

        Raises:
            EnvoyMissingError: there is no Envoy binary.
            PortTakenError: a port cannot be had.
            BadUrlError: a URL cannot be used.
            FolderError: there is no place for temporary files.
        """
        normalise_all(self._settings.urls)
        binary = find_envoy()
        self._settings = msgspec.structs.replace(
            self._settings, ports=settle(self._settings.ports, self._settings.host)
        )
        self._started_at = asyncio.get_running_loop().time()
        _raise_file_limit()
        with private_folder() as path:
            self._folder = Folder(path)
            on_ending(self._signalled)
            with self._access_log():
                return await self._serve(binary)

    @contextlib.contextmanager
    def _access_log(self) -> Iterator[None]:
        if self._settings.access_log != "stdout" or self._log_requests is None:
            yield
            return
        pipe = AccessPipe(self._folder.access_pipe, self._log_requests)
        try:
            yield
        finally:
            pipe.close(PIPE_GRACE_S)

    async def _serve(self, binary: Path) -> int:
        options = envoy_options(self._settings, self._folder, binary, os.cpu_count() or 1)
        environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
        commands = {
            "controller": controller_command(self._settings, self._folder),
            "picker": picker_command(self._settings, self._folder),
            "envoy": envoy_command(options),
        }
        self._children = {
            name: Child(name, line, self._reporter.said, environ) for name, line in commands.items()
        }
        admin = AdminServer(self._routes())
        async with EnvoyAdmin(options) as self._envoy, asyncio.TaskGroup() as tasks:
            self._readiness = Readiness(self._settings, self._folder, self._envoy)
            await admin.listen("127.0.0.1", self._settings.ports.admin)
            running = [
                tasks.create_task(self._children["controller"].run()),
                tasks.create_task(self._children["picker"].run()),
                tasks.create_task(self._watch_lives()),
            ]
            starting = tasks.create_task(self._start(tasks, running))
            await self._stop.wait()
            starting.cancel()
            forced = await self._drain()
            for task in running:
                task.cancel()
            await admin.close()
        return ENDED_BY_FORCE if forced else 0

    async def _start(self, tasks: asyncio.TaskGroup, running: list[asyncio.Task[None]]) -> None:
        """Probe, start Envoy when controller and picker can serve it, and report when everything answers."""
        probing = tasks.create_task(self._probe(normalise_all(self._settings.urls)))
        await self._until(self._controller_ready, "the controller reads its sources")
        await self._until(self._picker_ready, "the picker reads its sources")
        running.append(tasks.create_task(self._children["envoy"].run()))
        probed = tuple(await probing)
        if probed:
            self._reporter.probed(probed)
        await self._until(self._all_ready, "every pool is answered")
        self._reporter.ready(await self._ready_info(probed))
        await self._await_late(tuple(result.url for result in probed if not result.ok))

    async def _until(self, reached: Any, what: str) -> None:
        loop = asyncio.get_running_loop()
        tell_at = loop.time() + SLOW_START_S
        while not await reached():
            if loop.time() >= tell_at:
                missing = f" (missing: {', '.join(self._waits_for)})" if self._waits_for else ""
                log.info("still waiting until %s%s", what, missing)
                tell_at += SLOW_START_S
            await asyncio.sleep(POLL_S)

    async def _probe(self, urls: Iterable[str]) -> list[ProbeResult]:
        trust = default_trust(self._settings.upstream_ca, insecure=self._settings.insecure_upstream)
        return await asyncio.gather(*(probe(url, trust=trust, key=self._key_of(url)) for url in urls))

    def _key_of(self, url: str) -> ApiKey | None:
        return None if self._keys is None else self._keys.of_url(url)

    async def _await_late(self, urls: Iterable[str]) -> None:
        """Tell of each model server that did not answer at the start, when it does."""
        silent = list(urls)
        while silent:
            await asyncio.sleep(LATE_PROBE_S)
            for result in await self._probe(silent):
                if result.ok:
                    silent.remove(result.url)
                    self._reporter.joined(result)

    async def _controller_ready(self) -> bool:
        return await answers(self._folder.controller_socket, "/readyz")

    async def _picker_ready(self) -> bool:
        return await answers(self._folder.picker_socket, "/readyz")

    async def _all_ready(self) -> bool:
        self._waits_for = await self._missing()
        return not self._waits_for

    async def _missing(self) -> list[str]:
        """What the gateway still waits for; empty when a request sent now is answered by every pool."""
        assert self._readiness is not None
        return await self._readiness.missing(
            tuple(self._children[name].state.pid for name in ("envoy", "picker"))
        )

    async def _ready_info(self, probed: tuple[ProbeResult, ...]) -> Mapping[str, Any]:
        ports, settings = self._settings.ports, self._settings
        gateway = await ask(self._folder.controller_socket, "/v1/status") or {}
        summary = gateway.get("summary") or {}
        models = [card.id for result in probed for card in result.models]
        return {
            "url": public_url(settings.host, ports.gateway),
            "admin": f"http://127.0.0.1:{ports.admin}",
            "ports": msgspec.to_builtins(ports),
            "pids": {name: child.state.pid for name, child in self._children.items()},
            "model": next(iter([*models, *(self._readiness.models if self._readiness else ())]), None),
            "probed": bool(probed),
            "listeners": summary.get("listeners", []),
            "pools": summary.get("pools", []),
            "problems": gateway.get("problems", []),
        }

    async def _drain(self) -> bool:
        """End the children in order, streams first; whether the user lost patience."""
        draining = asyncio.ensure_future(self._drain_envoy())
        forced = asyncio.ensure_future(self._force.wait())
        await asyncio.wait((draining, forced), return_when=asyncio.FIRST_COMPLETED)
        draining.cancel()
        forced.cancel()
        grace = 0.0 if self._force.is_set() else CHILD_GRACE_S
        await self._children["envoy"].stop(grace)  # first, so that the others have nothing left to wait for
        await asyncio.gather(*(child.stop(grace) for child in self._children.values()))
        return self._force.is_set()

    async def _drain_envoy(self) -> None:
        """Let Envoy finish what it serves: until nothing runs, it has ended, or the time is over."""
        envoy = self._children["envoy"]
        envoy.retire()
        active = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_timeout_s):
                active = await self._once_drained(envoy)
                told = event("drain", requests=active, within_s=self._settings.drain_timeout_s)
                log.info("%s", drain_line(active, self._settings.drain_timeout_s), extra=told)
                while active and envoy.runs:
                    await asyncio.sleep(2 * POLL_S)
                    active = await self._active_requests(active)
                return
        if active:
            log.warning("%s", cut_off_line(active), extra=event("cut-off", requests=active))

    async def _once_drained(self, envoy: Child) -> int:
        """Envoy's running requests, once it has been told to drain: a slow admin is asked again."""
        assert self._envoy is not None
        while envoy.runs:
            try:
                await self._envoy.drain()
                return await self._envoy.active_requests()
            except OSError:
                await asyncio.sleep(POLL_S)
        return 0

    async def _active_requests(self, before: int) -> int:
        """Envoy's running requests; those from *before* when it does not answer now."""
        assert self._envoy is not None
        try:
            return await self._envoy.active_requests()
        except OSError:
            return before

    def _signalled(self, number: signal.Signals) -> None:
        """Begin to end; a second signal shows impatience, but for the echo of a SIGTERM."""
        now = asyncio.get_running_loop().time()
        if not self._stop.is_set():
            self._stop_asked_at = now
        elif number == signal.SIGINT or now - self._stop_asked_at >= ECHO_S:
            self._force.set()
        self._stop.set()

    async def _watch_lives(self) -> None:
        """Tell each child that it serves, once in each of its lives."""
        assert self._envoy is not None
        asks = {
            "controller": lambda: answers(self._folder.controller_socket, "/readyz"),
            "picker": lambda: answers(self._folder.picker_socket, "/readyz"),
            "envoy": self._envoy.ready,
        }
        while True:
            for name, child in self._children.items():
                life = child.unproved
                if life is not None and await asks[name]():
                    child.serves(life)
            await asyncio.sleep(4 * POLL_S)

    def _routes(self) -> Mapping[str, Handler]:
        async def healthy(_: Mapping[str, str]) -> Reply:
            return reply({"ok": True})

        async def ready(_: Mapping[str, str]) -> Reply:
            missing = await self._missing()
            picker = await ask(self._folder.picker_socket, "/v1/status") or {}
            pools = picker.get("pools", ())
            if self._stop.is_set():
                missing = ["draining"]
            elif not missing and nobody_serves(pools):
                missing = ["endpoints"]
            found = {"ready": not missing, "waiting_for": missing, "degraded": degraded(pools)}
            return reply(found, 503 if missing else 200)

        async def status(_: Mapping[str, str]) -> Reply:
            return reply(await self._status())

        async def decisions(query: Mapping[str, str]) -> Reply:
            limit = query.get("limit", "100")
            path = f"/v1/decisions?limit={limit if limit.isascii() and limit.isdigit() else 100}"
            order = query.get("order")
            if order is not None and order not in ("recent", "slowest"):
                return failure(400, "bad-order", "order must be recent or slowest")
            return await self._of_picker(path if order is None else f"{path}&order={order}")

        async def decision(query: Mapping[str, str]) -> Reply:
            name = query["request_id"]
            if not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > 200:
                return failure(404, "unknown-request", "no decision has this request id")
            return await self._of_picker(f"/v1/decisions/{name}")

        async def answer(query: Mapping[str, str]) -> Reply:
            name = quote(query["request_id"], safe="")
            return await self._of_controller(f"/v1/answers/{name}")

        async def objects(_: Mapping[str, str]) -> Reply:
            return await self._of_controller("/v1/objects")

        async def metrics(_: Mapping[str, str]) -> Reply:
            assert self._envoy is not None
            try:
                return gateway_metrics.page(await self._envoy.own_answers())
            except OSError:
                return failure(503, "envoy-away", "Envoy does not answer now; it is being restarted")

        return {
            "/metrics": metrics,
            "/healthz": healthy,
            "/readyz": ready,
            "/v1/status": status,
            "/v1/objects": objects,
            "/v1/decisions": decisions,
            "/v1/decisions/{request_id}": decision,
            "/v1/answers/{request_id}": answer,
        }

    async def _of_controller(self, path: str) -> Reply:
        try:
            return await fetch(self._folder.controller_socket, path)
        except OSError:
            return failure(
                503, "controller-away", "the controller does not answer now; it is being restarted"
            )

    async def _of_picker(self, path: str) -> Reply:
        try:
            return await fetch(self._folder.picker_socket, path)
        except OSError:
            return failure(503, "picker-away", "the picker does not answer now; it is being restarted")

    async def _status(self) -> Mapping[str, Any]:
        gateway, picker, missing = await asyncio.gather(
            ask(self._folder.controller_socket, "/v1/status"),
            ask(self._folder.picker_socket, "/v1/status"),
            self._missing(),
        )
        ports = self._settings.ports
        pools = picker.get("pools", ()) if picker is not None else ()
        if not missing and nobody_serves(pools):
            missing = ["endpoints"]
        return {
            "version": __version__,
            "ready": not missing and not self._stop.is_set(),
            "waiting_for": missing,
            "degraded": degraded(pools),
            "draining": self._stop.is_set(),
            "uptime_s": round(asyncio.get_running_loop().time() - self._started_at, 1),
            "url": public_url(self._settings.host, ports.gateway),
            "ports": msgspec.to_builtins(ports),
            "processes": [msgspec.to_builtins(child.state) for child in self._children.values()],
            "gateway": gateway,
            "picker": picker,
        }


def _raise_file_limit() -> None:
    """Let the children open as many files as the system allows: a stream takes two."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))
