"""Where requests go that a pool's picker names no endpoint for, by an annotation of the pool."""

from collections.abc import Iterator

from headgate.gateway import ir
from headgate.gateway.api import Unresolved
from headgate.gateway.envoy import names
from headgate.gateway.plan import backend_refs
from headgate.model import topology
from headgate.model.ids import PoolKey, pool_key
from headgate.model.meta import HEADGATE_GROUP, INFERENCE_GROUP, KubeObject
from headgate.model.objects import BackendRef, InferencePool
from headgate.model.problems import Problem
from headgate.model.store import Store

_GROUPS = {"InferencePool": INFERENCE_GROUP, "Service": "", "ModelServer": HEADGATE_GROUP}


def by_fallback(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """Keys of the index `fallback`: kind, namespace and name of what a pool's annotation names."""
    if isinstance(each, InferencePool):
        kind, _, rest = each.metadata.annotations.get(topology.FALLBACK, "").partition("/")
        if kind in _GROUPS:
            yield kind, each.namespace, rest.partition(":")[0]


def of_pool(world: Store, key: PoolKey) -> ir.Backend | None:
    """The fallback of a pool, without one of its own; None: there is none, or none that can be used."""
    pool = world.get(topology.written, key)
    found = None if pool is None else _read(world, pool)
    return None if isinstance(found, str) else found


def problems_of(world: Store, pool: InferencePool) -> Iterator[Problem]:
    """What is wrong with a pool's annotation."""
    found = _read(world, pool)
    if isinstance(found, str):
        message = f"{found}; the pool has no fallback"
        yield Problem(pool.place(f"metadata.annotations.{topology.FALLBACK}"), "InvalidFallback", message)


def _read(world: Store, pool: InferencePool) -> ir.Backend | str | None:
    """The fallback, None where none is wanted, or what is wrong."""
    text = pool.metadata.annotations.get(topology.FALLBACK)
    if text is None:
        return None
    kind, _, rest = text.partition("/")
    name, colon, port = rest.partition(":")
    if kind not in _GROUPS or not name or (kind == "Service") != bool(colon):
        return f"{text[:100]!r} must be InferencePool/NAME, Service/NAME:PORT or ModelServer/NAME"
    if colon and not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        return f"{port[:20]!r} is no port"
    if kind == "InferencePool":
        if name == pool.name:
            return "a pool cannot be its own fallback"
        found = backend_refs.by_cluster(world, names.pool(pool_key(pool.namespace, name)))
        other = found.pool.picker if isinstance(found, ir.PoolBackend) else None
        if other is not None and other.body_mode == "streamed":
            return f"a fallback needs a picker of body mode full-duplex, and that of {name} is streamed"
        return found or f"there is no InferencePool {pool.namespace}/{name}"
    ref = BackendRef(name=name, group=_GROUPS[kind], kind=kind, port=int(port) if colon else None)
    resolved = backend_refs.resolve(world, pool.identity, ref)
    return resolved.message if isinstance(resolved, Unresolved) else resolved
