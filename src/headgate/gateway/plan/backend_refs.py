"""backendRefs → backends: looks kinds up among the plugins and asks for ReferenceGrants."""

import difflib
from collections.abc import Mapping
from functools import cache

import msgspec

from headgate import registry
from headgate.gateway import backends, ir
from headgate.gateway.api import BackendPlugin, Unresolved
from headgate.gateway.plan import grants
from headgate.model.endpoints import Endpoint
from headgate.model.meta import Identity
from headgate.model.objects import BackendRef
from headgate.model.store import Store


@cache
def plugins() -> Mapping[tuple[str, str], type[BackendPlugin]]:
    """(group, kind) → plugin."""
    found = registry.classes(backends, BackendPlugin)  # type: ignore[type-abstract]
    return {key: plugin for plugin in found for key in plugin.KINDS}


@cache
def by_prefix() -> Mapping[str, type[BackendPlugin]]:
    """What clusters' names begin with → plugin."""
    found = registry.classes(backends, BackendPlugin)  # type: ignore[type-abstract]
    return {each.PREFIX: each for each in found}


def resolve(world: Store, source: Identity, ref: BackendRef) -> ir.Backend | Unresolved:
    """What the object *source* means by *ref*. Nothing of it depends on endpoints."""
    plugin = plugins().get((ref.group, ref.kind))
    if plugin is None:
        return Unresolved("InvalidKind", _not_a_backend(ref))
    namespace = ref.namespace or source.namespace
    if not grants.granted(world, source, ref.group, ref.kind, namespace, ref.name):
        return Unresolved("RefNotPermitted", grants.refused(source, ref.group, ref.kind, namespace))
    return plugin.resolve(world, ref, namespace)


GRPC = "+h2c"
"""End of the names of clusters that speak HTTP/2 although their Service says nothing of it."""


def speaking_grpc(backend: ir.HostsBackend) -> ir.HostsBackend:
    """The same backend for gRPC, which is HTTP/2."""
    if backend.protocol == "h2c":
        return backend
    return msgspec.structs.replace(backend, cluster=backend.cluster + GRPC, protocol="h2c")


def by_cluster(world: Store, cluster: str) -> ir.Backend | None:
    """The backend that a cluster was named for, or None when it is gone."""
    prefix, _, rest = cluster.removesuffix(GRPC).partition("/")
    found = by_prefix()[prefix].of_cluster(world, rest)
    if cluster.endswith(GRPC) and isinstance(found, ir.HostsBackend):
        return speaking_grpc(found)
    return found


def object_of(cluster: str) -> tuple[str, str, str]:
    """Kind, namespace and name of the object that a cluster was named for."""
    prefix, _, rest = cluster.removesuffix(GRPC).partition("/")
    kind = by_prefix()[prefix].KINDS[0][1]
    namespace, _, name = rest.partition("/")
    return kind, namespace, name.partition(":")[0]


def endpoints(world: Store, cluster: str) -> tuple[Endpoint, ...]:
    """Where a cluster's backend answers now."""
    prefix, _, rest = cluster.removesuffix(GRPC).partition("/")
    return by_prefix()[prefix].endpoints(world, rest)


def _not_a_backend(ref: BackendRef) -> str:
    """What to write instead of a kind, or a group, that cannot be a backend."""
    known = sorted(plugins())
    groups = [group for group, kind in known if kind == ref.kind]
    if groups:
        what = f"group {ref.group} is wrong" if ref.group else "group is missing"
        return f"{what} for kind {ref.kind}: write group: {groups[0]}"
    shown = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
    near = difflib.get_close_matches(ref.kind[:100], sorted({kind for _, kind in known}), 1)
    names = ", ".join(f"{group}/{kind}" if group else kind for group, kind in known)
    hint = f"did you mean {near[0]}?" if near else f"use one of {names}"
    return f"{shown} cannot be a backend; {hint}"
