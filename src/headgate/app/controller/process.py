"""Composition of the gateway half: source → translation → xDS, and an admin API that says what it did.

Nothing that goes wrong here changes what Envoy serves: a translation that fails keeps the one before.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from headgate.app.processes.lines import event
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import Translation, translate
from headgate.gateway.xds.linger import Linger
from headgate.io.here import local_addresses
from headgate.io.sources.api import Source
from headgate.io.web.admin import AdminServer, Reply, reply
from headgate.io.xds.server import XdsServer
from headgate.model.forbidden import Own
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot
from headgate.model.words import counted

log = logging.getLogger("headgate.controller")

QUIET_S = 0.05
LONGEST_S = 0.5
SOURCE_AGAIN_S = 1.0


class Debounce:
    """When to act on a burst of changes: after a quiet spell, and never later than a bound."""

    def __init__(self, quiet_s: float, longest_s: float) -> None:
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._first: float | None = None

    def changed(self, now: float) -> float:
        """Note a change; when to act, unless another one comes."""
        self._first = now if self._first is None else self._first
        return min(now + self._quiet_s, self._first + self._longest_s)

    def acted(self) -> None:
        """The burst is dealt with."""
        self._first = None


class ProblemBook:
    """Tells of each problem once when it appears, and once when it is gone."""

    def __init__(self, appeared: Callable[[Problem], None], gone: Callable[[Problem], None]) -> None:
        self._appeared = appeared
        self._gone = gone
        self.present: tuple[Problem, ...] = ()

    def update(self, problems: Iterable[Problem]) -> None:
        """These are the problems now."""
        before, now = dict.fromkeys(self.present), dict.fromkeys(problems)
        for problem in now:
            if problem not in before:
                self._appeared(problem)
        for problem in before:
            if problem not in now:
                self._gone(problem)
        self.present = tuple(now)


class Controller:
    """The gateway half, running. `run` serves until cancelled."""

    def __init__(
        self,
        source: Source,
        translator: Callable[[Snapshot], Translation],
        nodes: frozenset[str] | None = None,
        own: Own = Own(),  # noqa: B008 - frozen
    ) -> None:
        """Serve what *translator* makes of what *source* yields to *nodes*; nothing runs yet."""
        self.xds = XdsServer(nodes=nodes, on_change=self._note_problems)
        self.own = own
        """Where the gateway's processes listen."""
        self._source = source
        self._translator = translator
        self._snapshot: Snapshot | None = None
        self._translation: Translation | None = None
        self._crash: tuple[Problem, ...] = ()
        self._linger = Linger()
        self._again: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._snapshots = 0
        self._book = ProblemBook(_tell, _tell_gone)

    async def run(self) -> None:
        """Follow the source and publish what it means."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._publish())

    def status(self) -> Mapping[str, Any]:
        """What is served and what is wrong, JSON-shaped."""
        streams = self.xds.streams
        return {
            "snapshots": self._snapshots,
            "published": self.xds.published,
            "translated": self._translation is not None,
            "settled": bool(streams) and all(stream.settled for stream in streams),
            "envoys": msgspec.to_builtins(streams),
            "summary": None if self._translation is None else msgspec.to_builtins(self._translation.summary),
            "problems": [_shown(problem) for problem in self._book.present],
        }

    def routes(self) -> Mapping[str, Callable[[Mapping[str, str]], Any]]:
        """The admin API's table."""

        async def status(_: Mapping[str, str]) -> Reply:
            return reply(self.status())

        async def ready(_: Mapping[str, str]) -> Reply:
            is_ready = self._translation is not None
            return reply({"ready": is_ready}, 200 if is_ready else 503)

        async def healthy(_: Mapping[str, str]) -> Reply:
            return reply({"ok": True})

        return {"/healthz": healthy, "/readyz": ready, "/v1/status": status}

    async def _follow(self) -> None:
        while True:
            try:
                async for snapshot in self._source.snapshots():
                    self._snapshots += 1
                    self._snapshot = replace(snapshot, own=self.own)
                    self._changed.set()
            except Exception:
                log.exception(
                    "the source failed; what was read before stays, next try in %g s", SOURCE_AGAIN_S
                )
            await asyncio.sleep(SOURCE_AGAIN_S)

    async def _publish(self) -> None:
        debounce = Debounce(QUIET_S, LONGEST_S)
        now = asyncio.get_running_loop().time
        while True:
            await self._changed.wait()
            while self._changed.is_set():
                self._changed.clear()
                await _until_set(self._changed, debounce.changed(now()) - now())
            debounce.acted()
            if self._snapshot is not None:
                await self._take(self._snapshot)

    async def _take(self, snapshot: Snapshot) -> None:
        try:
            translation = await asyncio.to_thread(self._translator, snapshot)
            self._publish_lingering(translation)
        except Exception as error:
            log.exception("this version of the objects cannot be translated")
            message = f"a bug in Headgate: {error!r}; what was served before is served on"
            self._crash = (Problem(Place(), "InternalError", message),)
        else:
            self._crash = ()
            if self._translation is not None and _served(self._translation) != _served(translation):
                log.info("applied: %s", counts(translation), extra=event("applied", **numbers(translation)))
            self._translation = translation
        self._note_problems()

    def _publish_lingering(self, translation: Translation) -> None:
        """Hand over to xDS, and again when the endpoints that left have lingered long enough."""
        loop = asyncio.get_running_loop()
        if self._again is not None:
            self._again.cancel()
            self._again = None
        endpoints, until = self._linger.apply(translation.resources.get("endpoint", {}), loop.time())
        self.xds.publish({**translation.resources, "endpoint": endpoints})
        if until is not None:
            self._again = loop.call_at(until, self._publish_lingering, translation)

    def _note_problems(self) -> None:
        found = self._translation.problems if self._translation is not None else ()
        read = self._snapshot.problems if self._snapshot is not None else ()
        self._book.update((*self._crash, *read, *found, *self.xds.problems))


async def serve(
    source: Source,
    settings: GatewaySettings,
    started: Callable[[int], None],
    *,
    host: str,
    xds_port: int,
    xds_socket: Path | None,
    admin_socket: Path | None,
    nodes: frozenset[str],
    own_ports: frozenset[int] = frozenset(),
) -> None:
    """Run a controller until cancelled; *started* is told the xDS port, 0 when it is *xds_socket* instead.

    *nodes*: the ids of the Envoys that are served. *own_ports*: of the gateway's processes, which no backend
    may have.

    Raises:
        RuntimeError: the xDS port is taken.
        OSError: the socket cannot be bound.
    """
    own = Own(own_ports | {settings.port}, await asyncio.to_thread(local_addresses))
    controller = Controller(source, lambda snapshot: translate(snapshot, settings), nodes, own)
    if xds_socket is None:
        bound = await controller.xds.start(host, xds_port)
        controller.own = replace(own, ports=own.ports | {bound})
        started(bound)
    else:
        await controller.xds.start_unix(xds_socket)
        started(0)
    admin = AdminServer(controller.routes())
    try:
        if admin_socket is not None:
            await admin.listen_unix(admin_socket)
        await controller.run()
    finally:
        await admin.close()
        await controller.xds.stop()


def counts(translation: Translation) -> str:
    """What is served, in a few words."""
    return ", ".join(counted(count, what[:-1]) for what, count in numbers(translation).items())


def numbers(translation: Translation) -> Mapping[str, int]:
    """How many of each kind are served."""
    summary = translation.summary
    return {"listeners": len(summary.listeners), "routes": summary.routes, "pools": len(summary.pools)}


def _served(translation: Translation) -> tuple[object, ...]:
    """Everything but endpoints, which the picker tells of."""
    parts = [translation.resources.get(kind) for kind in ("listener", "route", "cluster")]
    pools = [msgspec.structs.replace(pool, endpoints=()) for pool in translation.summary.pools]
    return (*parts, pools)


async def _until_set(event: asyncio.Event, timeout_s: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, timeout_s)):
            await event.wait()
    except TimeoutError:
        return


def _shown(problem: Problem) -> Mapping[str, Any]:
    return {**msgspec.to_builtins(problem), "text": str(problem)}


def _tell(problem: Problem) -> None:
    log.log(logging.ERROR if problem.severity == "error" else logging.WARNING, "%s", problem)


def _tell_gone(problem: Problem) -> None:
    log.info("no longer: %s", problem)
