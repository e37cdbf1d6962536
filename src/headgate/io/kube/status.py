"""Writes what became of objects into their status: our part alone, when it is another, and not too often."""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.io.kube.client import ApiError, Collection, KubeClient
from headgate.io.kube.merging import Json, Ours, merged, own_part, wanted
from headgate.io.kube.reflector import wait_s
from headgate.model.meta import Identity

log = logging.getLogger(__name__)

RETURNED_S = 1.0
"""An object that was deleted and made again is not written before, unless something new is said of it."""
APART_S = 0.5
"""Between two writes to one object; what changes meanwhile is one write."""

SLOWEST_S = 2.0
"""The same for an object that goes on and on changing: thousands of routes that somebody makes one by one are
no reason for as many writes to their Gateway."""

SLOWER = 1.1
"""By so much more it is each time."""

TOGETHER_S = 0.02
"""Before the first of them."""

WRITERS = 8
"""Requests at once."""

MOST_CONFLICTS = 5
"""Writes in a row in which somebody else was faster, before waiting."""


def apart_s(before: float, late_s: float) -> float:
    """How long after a write the next one may be. *before*: how long it was until this one, 0 for the first,
    which came *late_s* after that: as soon as it might, or after a pause."""
    return min(SLOWEST_S, before * SLOWER) if late_s < before else APART_S


class _Desired(msgspec.Struct):
    status: Json
    part: bytes
    """Our part of it, see `merging.own_part`."""


class StatusWriter:
    """The desired statuses, those that are there, and the way from one to the other.

    `want` and `seen` may be called at any time; nothing is written before `lead(True)`.
    """

    def __init__(
        self,
        client: KubeClient,
        collection: Callable[[Identity], Collection | None],
        controller: str,
        now: Callable[[], str],
    ) -> None:
        """*collection*: where an object of this kind is written to; None: nowhere yet. *now*: RFC 3339."""
        self._client, self._collection, self._now = client, collection, now
        self._ours = Ours(controller)
        self._desired: dict[Identity, _Desired] = {}
        self._there: dict[Identity, bytes] = {}
        """Our part of what an object has, as far as it was seen."""
        self._versions: dict[Identity, str] = {}
        """resourceVersion of what the watch said last."""
        self._stored: dict[Identity, tuple[bytes, bytes]] = {}
        """What was wanted, and what the server made of it: an older CRD drops fields."""
        self._due: dict[Identity, float] = {}
        """When to look at an object that may need a write."""
        self._not_before: dict[Identity, float] = {}
        self._apart: dict[Identity, float] = {}
        """Seconds between an object's writes, as long as they follow upon each other."""
        self._failures: dict[Identity, int] = {}
        self._kept: set[Identity] = set()
        """Of what is gone, and of what came again, until something is said of it."""
        self._wake = asyncio.Event()
        self._leading = False
        self.writes = 0
        """Requests that changed something."""
        self.trouble: dict[str, ApiError] = {}
        """Kind → why its objects cannot be written."""

    def want(self, changes: Mapping[Identity, Json | None]) -> None:
        """These statuses are the right ones from now on; None: the object is gone, or another's."""
        for identity, result in changes.items():
            if identity.kind == "Gateway":
                pair = (identity.namespace, identity.name)
                known = self._ours.gateways - {pair} if result is None else self._ours.gateways | {pair}
                self._ours = Ours(self._ours.controller, known)
            gone = identity not in self._there
            if identity in self._kept:
                self._kept.discard(identity)
                self._not_before.pop(identity, None)
            status = {"parents": ()} if result is None and not gone and "Route" in identity.kind else result
            if status is None:
                self._desired.pop(identity, None)
                continue
            status = wanted(identity, status)
            self._desired[identity] = _Desired(status, own_part(identity, status, self._ours))
            self._look(identity)

    def seen(self, identity: Identity, raw: Mapping[str, Any] | None) -> None:
        """This is what the server has; None: nothing any more.

        An object may be deleted and made again before anything is said of it, and then, where it is equal,
        nothing is: what was wanted is kept until then.
        """
        if raw is None:
            for each in (
                self._there,
                self._versions,
                self._stored,
                self._due,
                self._not_before,
                self._apart,
                self._failures,
            ):
                each.pop(identity, None)
            if identity in self._desired:
                self._kept.add(identity)
            return
        if identity in self._kept and identity not in self._there:
            self._not_before[identity] = _clock() + RETURNED_S
        self._there[identity] = own_part(identity, raw.get("status"), self._ours)
        self._versions[identity] = _version(raw)
        self._look(identity)

    def lead(self, leading: bool) -> None:
        """Whether it is this process that writes."""
        self._leading = leading
        if leading:
            for identity in self._desired:
                self._look(identity)
        self._wake.set()

    @property
    def pending(self) -> int:
        """Objects whose status is not the right one."""
        return sum(not self._is_right(each) for each in self._desired)

    async def run(self) -> None:
        """Write until cancelled."""
        clock = asyncio.get_running_loop().time
        slots = asyncio.Semaphore(WRITERS)
        busy: set[Identity] = set()
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wake.clear()
                now = clock()
                due = [each for each, at in self._due.items() if at <= now and each not in busy]
                for identity in due if self._leading else ():
                    del self._due[identity]
                    if self._is_right(identity):
                        continue
                    await slots.acquire()
                    busy.add(identity)

                    def done(_: object, identity: Identity = identity) -> None:
                        slots.release()
                        busy.discard(identity)
                        self._wake.set()

                    tasks.create_task(self._write(identity)).add_done_callback(done)
                times = [at for each, at in self._due.items() if each not in busy]
                until = min(times, default=None) if self._leading else None
                try:
                    async with asyncio.timeout_at(until):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    def _look(self, identity: Identity) -> None:
        if self._is_right(identity):
            return
        at = max(_clock() + TOGETHER_S, self._not_before.get(identity, 0.0))
        self._due[identity] = min(at, self._due.get(identity, at))
        self._wake.set()

    def _is_right(self, identity: Identity) -> bool:
        desired, there = self._desired.get(identity), self._there.get(identity)
        if desired is None or there is None:
            return True
        return there == desired.part or self._stored.get(identity) == (desired.part, there)

    async def _write(self, identity: Identity) -> None:
        collection = self._collection(identity)
        if collection is None:
            self._again(identity)
            return
        path = collection.path(identity.namespace, identity.name)
        for _ in range(MOST_CONFLICTS):
            try:
                await self._write_once(identity, path)
            except ApiError as error:
                if error.status == 409:
                    continue
                if error.status == 404:
                    return  # the object is gone: the watch will say so
                self._told(identity, error)
                self._again(identity)
                return
            self._failures.pop(identity, None)
            if self.trouble.pop(identity.kind, None) is not None:
                log.info("status of %s: written again", collection)
            self._not_before[identity] = self._next(identity)
            self._look(identity)
            return
        self._again(identity)

    def _next(self, identity: Identity) -> float:
        """When an object that was just written may be again."""
        now = _clock()
        late = now - self._not_before.get(identity, 0.0)
        self._apart[identity] = apart = apart_s(self._apart.get(identity, 0.0), late)
        return now + apart

    async def _write_once(self, identity: Identity, path: str) -> None:
        found = await self._client.get(path)
        desired = self._desired.get(identity)
        if desired is None or not isinstance(found, Mapping):
            return
        there = own_part(identity, found.get("status"), self._ours)
        if there not in (desired.part, self._there.get(identity)):
            self._there[identity] = there
        if self._is_right(identity):
            return
        patch = {
            "metadata": {"resourceVersion": found.get("metadata", {}).get("resourceVersion")},
            "status": merged(identity, found.get("status"), desired.status, self._ours, self._now()),
        }
        before = self._versions.get(identity)
        answer = await self._client.patch(f"{path}/status", patch, "merge")
        self.writes += 1
        status = answer.get("status") if isinstance(answer, Mapping) else None
        stored = own_part(identity, status, self._ours)
        if self._versions.get(identity) in (before, _version(answer)):
            self._there[identity] = stored  # otherwise the watch may know of something newer
        if stored != desired.part:
            self._stored[identity] = (desired.part, stored)

    def _told(self, identity: Identity, error: ApiError) -> None:
        if identity.kind not in self.trouble:
            advice = "; give the ServiceAccount get, and patch of its status" if error.status == 403 else ""
            log.warning("status of %s cannot be written%s (%s)", identity, advice, error)
        self.trouble[identity.kind] = error

    def _again(self, identity: Identity) -> None:
        failures = self._failures[identity] = self._failures.get(identity, 0) + 1
        self._not_before[identity] = _clock() + wait_s(failures, random.random())
        self._due[identity] = self._not_before[identity]
        self._wake.set()


def _version(raw: object) -> str:
    metadata = raw.get("metadata") if isinstance(raw, Mapping) else None
    return str(metadata.get("resourceVersion", "")) if isinstance(metadata, Mapping) else ""


def _clock() -> float:
    return asyncio.get_running_loop().time()
