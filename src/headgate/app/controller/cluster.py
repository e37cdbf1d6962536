"""A cluster: where objects come from, with what is in none of them, and where results go."""

import asyncio
import os
import socket
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from headgate.gateway.plan.classes import CONTROLLER
from headgate.gateway.plan.results.of_objects import AnyResult
from headgate.io.kube.client import Collection, KubeClient
from headgate.io.kube.config import Access, ConfigError, in_pod, read_kubeconfig
from headgate.io.kube.lease import Election
from headgate.io.kube.source import KubeSource
from headgate.io.kube.status import StatusWriter
from headgate.io.sources.api import Names
from headgate.io.sources.api_keys import ApiKeys
from headgate.model.meta import Identity
from headgate.model.snapshot import Snapshot


def access_to(kubeconfig: Path | None, context: str = "") -> Access:
    """The API server of *kubeconfig*, or of the cluster that this process runs in.

    Raises:
        ConfigError: it cannot be reached by what is there.
    """
    if kubeconfig is not None:
        return read_kubeconfig(kubeconfig, context)
    found = in_pod()
    if found is None:
        raise ConfigError("not in a Pod with a ServiceAccount; name a file with --kubeconfig")
    return found


class ClusterSource:
    """Follows a cluster, or some of its namespaces."""

    def __init__(self, access: Access, namespaces: Sequence[str] = ()) -> None:
        self._access, self._namespaces = access, namespaces
        self.seen: Callable[[Identity, Mapping[str, Any] | None], None] = lambda identity, raw: None
        """Told of raw objects, see `KubeSource`."""
        self._keys = ApiKeys()
        self._source: KubeSource | None = None

    def collection_of(self, identity: Identity) -> Collection | None:
        """Where objects of this kind are written to; None: not known yet."""
        return None if self._source is None else self._source.collection_of(identity)

    async def snapshots(self) -> AsyncGenerator[Snapshot, None]:
        """See `Source`. Raises ConfigError when the certificates for the API server cannot be used."""
        async with KubeClient(self._access) as client:
            names = Names(lambda: source.nudge())

            async def complete(read: Snapshot) -> Snapshot:
                addresses = await names.of(read.objects, asyncio.get_running_loop().time())
                keys, wrong = self._keys.read(read.objects)
                return replace(read, addresses=addresses, api_keys=keys, problems=(*read.problems, *wrong))

            source = self._source = KubeSource(client, self._namespaces, complete=complete, seen=self.seen)
            async for snapshot in source.snapshots():
                yield snapshot


LEASE = "headgate-controller"


class ClusterWrites:
    """Writes results into the objects of a cluster, for as long as `run` runs and this process leads."""

    def __init__(
        self,
        access: Access,
        collection: Callable[[Identity], Collection | None],
        *,
        lease_namespace: str = "",
    ) -> None:
        """*collection*: see `StatusWriter`. *lease_namespace*: empty: the one of *access*."""
        self._client = KubeClient(access)
        self._status = StatusWriter(self._client, collection, CONTROLLER, _now)
        me = f"{socket.gethostname()}_{os.getpid()}_{os.urandom(4).hex()}"
        namespace = lease_namespace or access.namespace
        self._election = Election(self._client, namespace, LEASE, me, self._status.lead)

    def seen(self, identity: Identity, raw: Mapping[str, Any] | None) -> None:
        """This is what the cluster has."""
        self._status.seen(identity, raw)

    def results(self, changes: Mapping[Identity, AnyResult | None]) -> None:
        """This became of these objects; None: they are gone, or not ours."""
        self._status.want(
            {each: None if found is None else msgspec.to_builtins(found) for each, found in changes.items()}
        )

    async def run(self) -> None:
        """Until cancelled. Raises ConfigError when the certificates for the API server cannot be used."""
        async with self._client, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._status.run())
            tasks.create_task(self._election.run())


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
