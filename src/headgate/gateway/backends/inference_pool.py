"""InferencePool backends, of either API group."""

from typing import ClassVar

from headgate.gateway.api import BackendKind, PoolTarget, Target, Unresolved, World
from headgate.model.ids import pool_key
from headgate.model.objects import BackendRef


class InferencePoolBackend(BackendKind):
    """A pool; the port of the reference means nothing here, as the specification says."""

    kinds: ClassVar[tuple[tuple[str, str], ...]] = (
        ("inference.networking.k8s.io", "InferencePool"),
        ("inference.networking.x-k8s.io", "InferencePool"),
    )

    def resolve(self, ref: BackendRef, namespace: str, world: World) -> Target | Unresolved:
        """The pool."""
        pool = world.pools.get(pool_key(namespace, ref.name))
        if pool is None:
            return world.missing("InferencePool", namespace, ref.name)
        return PoolTarget(pool)
