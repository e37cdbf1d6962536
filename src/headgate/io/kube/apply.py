"""Server-side apply: the objects that a Gateway is run by become what they are to be, and stay so."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec

from headgate.gateway.provision.objects import MANAGED, MANAGED_LABEL
from headgate.io.kube.client import MANAGER, ApiError, Collection, KubeClient
from headgate.io.kube.reflector import wait_s
from headgate.model.meta import Identity

log = logging.getLogger(__name__)

AGAIN_S = 600.0
"""Everything is applied again after so long: what somebody else changed or deleted comes back."""

HANDOVER = f"{MANAGER}-handover"
"""Owns the number of replicas that an autoscaler begins with."""

NOT_OURS = "NotOurs"
"""Reason of an ApiError: another made an object of that name."""

Json = Mapping[str, Any]

PLURALS: Mapping[str, str] = {
    "ConfigMap": "configmaps",
    "Deployment": "deployments",
    "GatewayClass": "gatewayclasses",
    "HorizontalPodAutoscaler": "horizontalpodautoscalers",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "Secret": "secrets",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
}
"""Of the kinds that are made."""

OPTIONAL = (
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("policy/v1", "PodDisruptionBudget"),
    ("v1", "Service"),
)
"""Kinds of which a Gateway may come to want none any more."""


class Owned(msgspec.Struct, frozen=True):
    """What belongs to one Gateway."""

    namespace: str
    name: str
    objects: tuple[Json, ...]
    shared: bool = False
    """Others make the objects; what is said here is added to them."""


def path_of(made: Json) -> str:
    """Where an object is applied to."""
    group, _, version = made["apiVersion"].rpartition("/")
    meta = made["metadata"]
    return Collection(group, version, PLURALS[made["kind"]]).path(meta.get("namespace", ""), meta["name"])


class Applier:
    """Applies what `want` says, while it leads. What goes with its owner the cluster collects by itself."""

    def __init__(
        self,
        client: KubeClient,
        before: Callable[[Identity], Awaitable[None]] | None = None,
        told: Callable[[Identity], None] = lambda _: None,
    ) -> None:
        """*before*: awaited before the objects of an owner are applied; may raise ApiError. *told*: of an
        owner whose `trouble` is another."""
        self._client, self._before, self._tell = client, before, told
        self._wanted: dict[Identity, Owned] = {}
        self._due: dict[Identity, float] = {}
        self._failures: dict[Identity, int] = {}
        self._ours: set[str] = set()
        """Paths of objects that nobody else made."""
        self._wake = asyncio.Event()
        self._leading = False
        self.trouble: dict[Identity, ApiError] = {}
        """Owner → why its objects cannot be made."""

    def want(self, owner: Identity, owned: Owned | None) -> None:
        """These objects belong to *owner* from now on; None: none, and those there go with it."""
        if owned is None:
            for each in (self._wanted, self._due, self._failures, self.trouble):
                each.pop(owner, None)
        else:
            self._wanted[owner] = owned
            self.again(owner)

    def again(self, owner: Identity, after_s: float = 0.0) -> None:
        """Look at its objects now, or soon."""
        if owner in self._wanted:
            at = asyncio.get_running_loop().time() + after_s if after_s else 0.0
            self._due[owner] = min(at, self._due.get(owner, at))
            self._wake.set()

    def lead(self, leading: bool) -> None:
        """Whether it is this process that makes objects."""
        self._leading = leading
        for owner in self._wanted if leading else ():
            self.again(owner)
        self._wake.set()

    async def apply(self, made: Json, *, shared: bool = False) -> None:
        """Make one object what it is to be. Raises ApiError, also where another made one of that name and it
        is not *shared*."""
        path = path_of(made)
        if path not in self._ours and not shared:
            await self._refuse_others(made, path)
            self._ours.add(path)
        if made["kind"] == "Deployment" and "replicas" not in made["spec"]:
            await self._leave_replicas(made, path)
        await self._client.patch(path, made, "apply", force=True)

    async def _leave_replicas(self, made: Json, path: str) -> None:
        """An autoscaler says how many from now on. Without another owner of the number that was applied
        before, the server would take it away with us, and a Deployment without one has one Pod."""
        found = await self._client.find(path)
        if _owns_replicas(found):
            told = {"replicas": found["spec"]["replicas"]}
            meta = {each: made["metadata"][each] for each in ("name", "namespace")}
            kept = {"apiVersion": made["apiVersion"], "kind": made["kind"], "metadata": meta, "spec": told}
            await self._client.patch(path, kept, "apply", manager=HANDOVER)

    async def _refuse_others(self, made: Json, path: str) -> None:
        found = await self._client.find(path)
        if found is not None and not _is_ours(found):
            meta = made["metadata"]
            raise ApiError(
                0,
                NOT_OURS,
                f"{made['kind']} {meta['namespace']}/{meta['name']} is there and was not made by Headgate; "
                "rename one of the two",
            )

    async def run(self) -> None:
        """Apply until cancelled."""
        clock = asyncio.get_running_loop().time
        while True:
            self._wake.clear()
            if self._leading:
                for owner in [each for each, at in self._due.items() if at <= clock()]:
                    await self._apply(owner, clock)
            until = min(self._due.values(), default=None) if self._leading else None
            try:
                async with asyncio.timeout_at(until):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _apply(self, owner: Identity, clock: Callable[[], float]) -> None:
        owned = self._wanted.get(owner)
        if owned is None:
            return
        self._due[owner] = clock() + AGAIN_S * (0.8 + random.random() * 0.4)
        try:
            if self._before is not None:
                await self._before(owner)
            for each in owned.objects:
                await self.apply(each, shared=owned.shared)
            if not owned.shared:
                await self._remove(owned)
        except ApiError as error:
            if owner not in self.trouble or self.trouble[owner].reason != error.reason:
                what = "its finalizer cannot be written" if owned.shared else "what runs it cannot be made"
                log.warning("%s: %s: %s", owner, what, error)
            before, self.trouble[owner] = self.trouble.get(owner), error
            if str(before) != str(error):
                self._tell(owner)
            failures = self._failures[owner] = self._failures.get(owner, 0) + 1
            if owner in self._wanted:
                self._due[owner] = clock() + wait_s(failures, random.random(), error.retry_after_s or 0.0)
        else:
            self._failures.pop(owner, None)
            if self.trouble.pop(owner, None) is not None:
                log.info("%s: %s", owner, "marked" if owned.shared else "what runs it was made")
                self._tell(owner)

    async def _remove(self, owned: Owned) -> None:
        """Delete what it once wanted, and no longer does; never what another made."""
        kinds = {each["kind"] for each in owned.objects}
        for api, kind in OPTIONAL:
            if kind in kinds:
                continue
            name = {
                "apiVersion": api,
                "kind": kind,
                "metadata": {"namespace": owned.namespace, "name": owned.name},
            }
            try:
                found = await self._client.get(path_of(name))
            except ApiError as error:
                if error.status in (403, 404):
                    continue
                raise
            if _is_ours(found):
                await self._client.delete(path_of(name))


def _owns_replicas(found: object) -> bool:
    """Whether the number of replicas is what we applied."""
    meta = found.get("metadata") if isinstance(found, Mapping) else None
    managed = meta.get("managedFields") if isinstance(meta, Mapping) else None
    return any(
        each.get("manager") == MANAGER
        and each.get("operation") == "Apply"
        and "f:replicas" in each.get("fieldsV1", {}).get("f:spec", {})
        for each in managed or ()
        if isinstance(each, Mapping)
    )


def _is_ours(found: object) -> bool:
    meta = found.get("metadata") if isinstance(found, Mapping) else None
    labels = meta.get("labels") if isinstance(meta, Mapping) else None
    return isinstance(labels, Mapping) and labels.get(MANAGED_LABEL) == MANAGED
