"""Whether a gateway's processes are ready, and whether they answer: what `headgate run` waits for."""

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from headgate.app.run.probe import Probe, Served, served
from headgate.app.run.settings import Folder, RunSettings
from headgate.io.envoy.admin import EnvoyAdmin
from headgate.io.web.admin import fetch


class Readiness:
    """Of one gateway."""

    def __init__(self, settings: RunSettings, folder: Folder, envoy: EnvoyAdmin) -> None:
        self._folder = folder
        self._envoy = envoy
        self._port = settings.ports.gateway
        self._probe = Probe(folder.probe_socket, settings.host)
        self._served = Served()
        self._proved: tuple[int | None, ...] | None = None
        self.models: list[str] = []
        """Names of models that the gateway listed when it was asked last."""

    @property
    def reached(self) -> bool:
        """Whether nothing was missing once."""
        return self._proved is not None

    async def missing(self, lives: tuple[int | None, ...]) -> list[str]:
        """What the gateway still waits for; empty when a request sent now is answered by every pool.

        A process that says that it is ready may still get no processor, so that every pool is asked for an
        answer before the first time that nothing is missing, and again when *lives*, the process ids of those
        that carry requests, are others than those that answered.
        """
        envoy, picker, gateway = await asyncio.gather(
            self._envoy.ready(),
            answers(self._folder.picker_socket, "/readyz"),
            ask(self._folder.controller_socket, "/v1/status"),
        )
        missing = [] if envoy else ["envoy"]
        if not picker:
            missing.append("picker")
        # an Envoy that serves goes on when the controller is away: only the first time needs both
        if not self.reached and not (gateway and gateway.get("settled")):
            missing.append("controller")
        if gateway is not None:
            self._served = served(gateway)
        if not missing and lives != self._proved:
            missing = await self._unanswered(self._served)
            if not missing:
                self._proved = lives
        return missing

    async def _unanswered(self, todo: Served) -> list[str]:
        """The pools and ports that do not answer now, all asked at once by Envoy's own ways."""
        pools, ports, models = await asyncio.gather(
            self._probe.unanswered(todo.pools), self._probe.closed(todo.ports), self._first_request(todo)
        )
        self.models = models or []
        missing = _named(pools, ports)
        return missing if missing or models is not None else _named((), [self._port])

    async def _first_request(self, todo: Served) -> list[str] | None:
        """As `Probe.models`; other vendors' pickers are not waited for."""
        if self._port not in todo.ports:
            return []
        models = await self._probe.models(self._port)
        return models if todo.all_own else models or []


def _named(pools: Sequence[str], ports: Sequence[int]) -> list[str]:
    return [*(f"pool {pool}" for pool in pools), *(f"port {port}" for port in ports)]


async def answers(socket: Path, path: str) -> bool:
    """Whether the admin API on *socket* answers *path* with 200."""
    with contextlib.suppress(OSError):
        return (await fetch(socket, path)).status == 200
    return False


async def ask(socket: Path, path: str) -> dict[str, Any] | None:
    """The JSON object at *path*, or None when nobody answers."""
    with contextlib.suppress(OSError, msgspec.DecodeError):
        answer = await fetch(socket, path)
        if answer.status == 200:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
    return None
