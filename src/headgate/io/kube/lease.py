"""Leader election: of several processes the one that holds a Lease leads. Of controllers all read and serve,
and the leader writes; of pickers the leader alone is ready."""

import asyncio
import contextlib
import logging
import os
import random
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from headgate.io.kube.client import ApiError, Collection, KubeClient

log = logging.getLogger(__name__)

LEASES = Collection("coordination.k8s.io", "v1", "leases")

HOLD_S = 15.0
"""Who has not renewed for so long has lost it."""
RENEW_S = 10.0
"""Who could not renew for so long writes no more: sooner than anybody else may begin."""
TRY_S = 2.0


def controllers_lease(release: str) -> str:
    """Name of the Lease of an installation."""
    return f"{release}-controller"


class Holder(msgspec.Struct, frozen=True):
    """Who holds a Lease."""

    identity: str
    """A name that no other process has."""
    pod: Mapping[str, Any] | None = None
    """Reference to the Pod that it runs in, in the Lease's namespace; None: not known. The Lease goes with
    it: nobody waits for a holder that is gone, such as one whose rights went before it could let go."""


def this_process(namespace: str, environ: Mapping[str, str] = os.environ) -> Holder:
    """This one, as holder of a Lease of *namespace*; its Pod by POD_NAME, POD_NAMESPACE and POD_UID."""
    name, uid = environ.get("POD_NAME", ""), environ.get("POD_UID", "")
    identity = f"{name or socket.gethostname()}_{os.getpid()}_{os.urandom(4).hex()}"
    if not (name and uid) or environ.get("POD_NAMESPACE") != namespace:
        return Holder(identity)
    return Holder(identity, {"apiVersion": "v1", "kind": "Pod", "name": name, "uid": uid})


class Observed(msgspec.Struct, frozen=True):
    """A lease as it was first seen like this, by our own clock: those of other machines may differ."""

    holder: str
    renewed: str
    at: float


def may_take(seen: Observed | None, me: str, now: float) -> bool:
    """Whether the lease is ours, nobody's, or that of somebody who is silent for too long."""
    return seen is None or seen.holder in ("", me) or now >= seen.at + HOLD_S


class Election:
    """Tries to hold one Lease for as long as `run` runs; `leading` says whether it does."""

    def __init__(
        self,
        client: KubeClient,
        namespace: str,
        name: str,
        me: Holder,
        told: Callable[[bool], None],
        words: tuple[str, str] = ("this controller leads and writes", "this controller leads no more"),
    ) -> None:
        """*told*: called when `leading` becomes another, of which *words* are logged."""
        self._words = words
        self._client, self._namespace, self._name, self._told = client, namespace, name, told
        self._me, self._pod = me.identity, me.pod
        self.leading = False
        self.holder = ""
        self._seen: Observed | None = None
        self._renewed = 0.0
        self._trouble = ""

    async def run(self) -> None:
        """Until cancelled, then let go of it."""
        clock = asyncio.get_running_loop().time
        try:
            while True:
                try:
                    async with asyncio.timeout(RENEW_S):
                        held = await self._try(clock())
                except (ApiError, TimeoutError) as error:
                    said = str(error) or "no answer"
                    if said != self._trouble:
                        log.warning("lease %s/%s: %s", self._namespace, self._name, said)
                    self._trouble = said
                    held = self.leading and clock() < self._renewed + RENEW_S
                else:
                    self._trouble = ""
                    if held:
                        self._renewed = clock()
                self._set(held)
                await asyncio.sleep(TRY_S * (0.8 + random.random() * 0.4))
        finally:
            if self.leading:
                self._set(False)
                with contextlib.suppress(ApiError, TimeoutError):
                    async with asyncio.timeout(2):
                        await self._let_go()

    def _set(self, leading: bool) -> None:
        if leading != self.leading:
            self.leading = leading
            log.info("%s", self._words[0] if leading else self._words[1])
            self._told(leading)

    async def _try(self, now: float) -> bool:
        path = LEASES.path(self._namespace, self._name)
        found = await self._client.find(path)
        if found is None:
            return await self._written(self._client.create(LEASES.path(self._namespace), self._lease({})))
        spec = found.get("spec") if isinstance(found, Mapping) else None
        spec = spec if isinstance(spec, Mapping) else {}
        holder, renewed = str(spec.get("holderIdentity") or ""), str(spec.get("renewTime") or "")
        if self._seen is None or (holder, renewed) != (self._seen.holder, self._seen.renewed):
            self._seen = Observed(holder, renewed, now)
        self.holder = holder
        if not may_take(self._seen, self._me, now):
            return False
        return await self._written(self._client.replace(path, self._lease(found)))

    async def _written(self, request: Any) -> bool:
        """False when somebody else was faster. Raises ApiError."""
        try:
            await request
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        self.holder = self._me
        return True

    def _lease(self, found: Mapping[str, Any], holder: str | None = None) -> Mapping[str, Any]:
        before = found.get("spec") or {}
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        mine = before.get("holderIdentity") == self._me
        spec = {
            "holderIdentity": self._me if holder is None else holder,
            "leaseDurationSeconds": round(HOLD_S),
            "acquireTime": before.get("acquireTime") if mine else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if mine else 1),
        }
        metadata = {**(found.get("metadata") or {"name": self._name, "namespace": self._namespace})}
        metadata["ownerReferences"] = [self._pod] if self._pod is not None and holder is None else []
        return {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": metadata, "spec": spec}

    async def _let_go(self) -> None:
        path = LEASES.path(self._namespace, self._name)
        found = await self._client.get(path)
        if (found.get("spec") or {}).get("holderIdentity") == self._me:
            await self._client.replace(path, self._lease(found, ""))
