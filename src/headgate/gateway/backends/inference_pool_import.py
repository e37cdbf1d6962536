"""InferencePoolImport backends: a pool that several clusters may have."""

from typing import ClassVar

import msgspec

from headgate.gateway import ir
from headgate.gateway.api import BackendPlugin, Unresolved, missing
from headgate.gateway.envoy import names
from headgate.gateway.plan import backend_refs, fallbacks, imports
from headgate.model.endpoints import Endpoint
from headgate.model.objects import BackendRef, InferencePoolImport
from headgate.model.store import Store


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
        key = imports.local_pool(world, found)
        if key is None:
            return Unresolved("BackendNotFound", imports.out_of_reach(world, found))
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
