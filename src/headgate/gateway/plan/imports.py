"""What an InferencePoolImport leads to, and what it does not lead to."""

from headgate.model import topology
from headgate.model.ids import PoolKey, pool_key
from headgate.model.objects import EXPORT, InferencePoolImport
from headgate.model.store import Store

MOST_NAMED = 5
"""Clusters that a sentence lists."""


def local_pool(world: Store, found: InferencePoolImport) -> PoolKey | None:
    """The exported pool of this cluster among those that an import stands for."""
    key = pool_key(found.namespace, found.name)
    local = world.get(topology.written, key)
    return None if local is None or local.metadata.annotations.get(EXPORT) != "ClusterSet" else key


def rest(found: InferencePoolImport) -> str:
    """Of an import with a pool in this cluster: what becomes of the pools of others; empty: there are none.

    No object says which of the clusters is this one.
    """
    named = _clusters(found)
    if len(named) < 2:
        return ""
    return (
        f"requests go to InferencePool {found.namespace}/{found.name} of this cluster alone: an import says "
        f"no address, so that of clusters {_shown(named)} the others get none; "
        "add their gateways as ModelServers"
    )


def out_of_reach(world: Store, found: InferencePoolImport) -> str:
    """Why an import without such a pool leads nowhere."""
    it = f"InferencePoolImport {found.namespace}/{found.name}"
    if world.get(topology.written, pool_key(found.namespace, found.name)) is not None:
        return (
            f"{it} leads to no pool: InferencePool {found.namespace}/{found.name} is here and not "
            f"exported; write its annotation {EXPORT}: ClusterSet, or refer to the pool itself"
        )
    named = _clusters(found)
    of = f"is of clusters {_shown(named)}, and an import" if named else "names no cluster yet, and an import"
    return (
        f"{it} {of} says no address: pools of other clusters are reached by a ModelServer "
        "with the URL of that cluster's gateway; write it in place of the import"
    )


def _clusters(found: InferencePoolImport) -> list[str]:
    return sorted({each.name for one in found.status.controllers for each in one.exporting_clusters})


def _shown(named: list[str]) -> str:
    return ", ".join(named[:MOST_NAMED]) + (", …" if len(named) > MOST_NAMED else "")
