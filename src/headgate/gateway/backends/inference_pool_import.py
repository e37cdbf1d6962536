"""InferencePoolImport backends: a pool that several clusters may have."""

from typing import ClassVar

import msgspec

from headgate.gateway import ir
from headgate.gateway.api import BackendPlugin, Unresolved, missing
from headgate.gateway.envoy import names
from headgate.gateway.plan import backend_refs, fallbacks
from headgate.model import topology
from headgate.model.endpoints import Endpoint
from headgate.model.ids import pool_key
from headgate.model.objects import EXPORT, BackendRef, InferencePoolImport
from headgate.model.store import Store

MOST_NAMED = 5
"""Clusters that a sentence lists."""


class InferencePoolImportBackend(BackendPlugin):
    """The pool of this cluster that is among those that the import stands for.

    An import names clusters and no address, so that pools of others cannot be reached by it.
    """

    KINDS: ClassVar[tuple[tuple[str, str], ...]] = ((InferencePoolImport.GROUP, InferencePoolImport.KIND),)
    PREFIX: ClassVar[str] = names.POOL_IMPORT

    @classmethod
    def resolve(cls, world: Store, ref: BackendRef, namespace: str) -> ir.Backend | Unresolved:
        """The pool of the same namespace and name, if it is exported."""
        found = world.object(InferencePoolImport, namespace, ref.name)
        if found is None:
            return missing(world, "InferencePoolImport", namespace, ref.name)
        key = pool_key(namespace, ref.name)
        local = world.get(topology.written, key)
        if local is None or local.metadata.annotations.get(EXPORT) != "ClusterSet":
            return Unresolved("BackendNotFound", _out_of_reach(found, local is not None))
        pool = backend_refs.by_cluster(world, names.pool(key))
        assert isinstance(pool, ir.PoolBackend), "a pool that is written has a cluster"
        return msgspec.structs.replace(pool, fallback=world.get(fallbacks.of_pool, key))

    @classmethod
    def of_cluster(cls, world: Store, rest: str) -> ir.Backend | None:
        """None: it is reached by the cluster of its pool."""
        return None

    @classmethod
    def endpoints(cls, world: Store, rest: str) -> tuple[Endpoint, ...]:
        """None of its own."""
        return ()


def _out_of_reach(found: InferencePoolImport, local: bool) -> str:
    named = sorted({each.name for one in found.status.controllers for each in one.exporting_clusters})
    shown = ", ".join(named[:MOST_NAMED]) + (", …" if len(named) > MOST_NAMED else "")
    it = f"InferencePoolImport {found.namespace}/{found.name}"
    if local:
        return (
            f"{it} leads to no pool: InferencePool {found.namespace}/{found.name} is here and not "
            f"exported; write its annotation {EXPORT}: ClusterSet, or refer to the pool itself"
        )
    of = f"is of clusters {shown}, and an import" if named else "names no cluster yet, and an import"
    return (
        f"{it} {of} says no address: pools of other clusters are reached by a ModelServer "
        "with the URL of that cluster's gateway; write it in place of the import"
    )
