"""InferencePool backends, of either API group."""

from typing import ClassVar

import msgspec

from headgate.gateway import ir
from headgate.gateway.api import BackendPlugin, Unresolved, missing
from headgate.gateway.envoy import names
from headgate.gateway.plan import fallbacks, upstream_tls
from headgate.model import topology
from headgate.model.endpoints import Endpoint
from headgate.model.ids import PoolKey, pool_key
from headgate.model.objects import BackendRef
from headgate.model.store import Store


class InferencePoolBackend(BackendPlugin):
    """A pool; the port of the reference means nothing here, as the specification says."""

    KINDS: ClassVar[tuple[tuple[str, str], ...]] = (
        ("inference.networking.k8s.io", "InferencePool"),
        ("inference.networking.x-k8s.io", "InferencePool"),
    )
    PREFIX: ClassVar[str] = names.POOL

    @classmethod
    def resolve(cls, world: Store, ref: BackendRef, namespace: str) -> ir.Backend | Unresolved:
        """The pool."""
        key = pool_key(namespace, ref.name)
        found = cls.of_cluster(world, key)
        if not isinstance(found, ir.PoolBackend):
            return missing(world, "InferencePool", namespace, ref.name)
        return msgspec.structs.replace(found, fallback=world.get(fallbacks.of_pool, key))

    @classmethod
    def of_cluster(cls, world: Store, rest: str) -> ir.Backend | None:
        """*rest* is the pool's key."""
        key = PoolKey(rest)
        pool = world.get(topology.pool_settings, key)
        if pool is None:
            return None
        return ir.PoolBackend(names.pool(key), pool, world.get(upstream_tls.of_pool, key))

    @classmethod
    def endpoints(cls, world: Store, rest: str) -> tuple[Endpoint, ...]:
        """Those of the pool."""
        return topology.pool_endpoints(world, PoolKey(rest))
