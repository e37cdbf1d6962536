"""The one entry of the gateway half: a snapshot in, Envoy resources and problems out."""

from collections import Counter
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from headgate.gateway import advice, attach, virtual_hosts
from headgate.gateway.backend_refs import BackendRefs
from headgate.gateway.compile import Compiler
from headgate.gateway.envoy import clusters, endpoints, listeners, names, probe, routes
from headgate.gateway.envoy.names import Json
from headgate.gateway.settings import GatewaySettings
from headgate.model.endpoints import ForeignPicker, Pool
from headgate.model.problems import Problem
from headgate.model.snapshot import Snapshot
from headgate.model.topology import resolve_pools


class ListenerSummary(msgspec.Struct, frozen=True):
    """A served listener, for people."""

    gateway: str
    """`namespace/name`."""
    name: str
    hostname: str
    declared_port: int
    port: int
    """Where it is bound."""
    routes: int


class Summary(msgspec.Struct, frozen=True):
    """What is served, for people."""

    listeners: tuple[ListenerSummary, ...]
    routes: int
    """HTTPRoutes attached to at least one listener."""
    pools: tuple[Pool, ...]


class Translation(msgspec.Struct, frozen=True):
    """A whole configuration. Equal snapshots give equal translations."""

    resources: Mapping[str, Mapping[str, Json]]
    """`listener`, `route`, `cluster`, `endpoint` → name → resource in protobuf JSON."""
    problems: tuple[Problem, ...]
    """Ordered, without those that the snapshot brought along."""
    summary: Summary
    notes: tuple[Problem, ...] = ()
    """For whoever checks manifests: nothing to mend."""


def translate(snapshot: Snapshot, settings: GatewaySettings) -> Translation:
    """Translate everything. Never raises for wrong objects: each is a Problem and the rest is served."""
    bounds, bind_problems = attach.bind(snapshot, settings)
    if snapshot.own.ports:
        ports = snapshot.own.ports | {bound.port for bound in bounds}
        snapshot = replace(snapshot, own=replace(snapshot.own, ports=ports))
    pools, pool_problems = resolve_pools(snapshot)
    attached, attach_problems = attach.attach(snapshot, bounds)
    refs = BackendRefs(snapshot, pools, settings)
    compiler = Compiler(refs)
    compiled = {
        each.identity: compiler.compile(each)
        for each in {each.route.identity: each.route for each in attached}.values()
    }
    listener_resources: dict[str, Json] = {}
    route_resources: dict[str, Json] = {}
    shadowed: list[Problem] = []
    for port in sorted({bound.port for bound in bounds}):
        name = names.route_config(port)
        here = [each for each in attached if each.bound.port == port]
        hosts, found = virtual_hosts.virtual_hosts(
            [bound for bound in bounds if bound.port == port], here, compiled
        )
        by_model = any(way.by_model for each in here for way in compiled[each.route.identity])
        shadowed += found
        listener_resources[name] = listeners.listener(port, settings)
        route_resources[name] = routes.configuration(name, hosts, settings, by_model)
    if settings.probe_socket is not None:
        listener_resources[probe.NAME] = probe.listener(settings.probe_socket, settings)
        route_resources[probe.NAME] = probe.configuration(pools)
    cluster_resources, endpoint_resources = _backends(pools, refs, settings, snapshot.authorities)
    advised = advice.warnings(snapshot, pools, bounds, attached)
    problems = {*pool_problems, *bind_problems, *attach_problems, *compiler.problems, *shadowed, *advised}
    return Translation(
        resources={
            "listener": listener_resources,
            "route": route_resources,
            "cluster": cluster_resources,
            "endpoint": endpoint_resources,
        },
        problems=tuple(sorted(problems)),
        notes=tuple(sorted(advice.notes(snapshot))),
        summary=Summary(_summaries(bounds, attached), len(compiled), pools),
    )


def _backends(
    pools: tuple[Pool, ...], refs: BackendRefs, settings: GatewaySettings, authorities: Mapping[str, str]
) -> tuple[dict[str, Json], dict[str, Json]]:
    """Clusters and endpoint assignments by name."""
    found: dict[str, Json] = {names.OWN_PICKER: clusters.own_picker(settings)}
    assigned: dict[str, Json] = {}
    pickers: dict[str, ForeignPicker] = {}
    for pool in pools:
        name = names.pool(pool.key)
        found[name] = clusters.pool(pool, settings, authorities)
        assigned[name] = endpoints.assignment(name, pool.endpoints)
        if pool.picker is not None:
            pickers[names.picker(pool.picker.service)] = pool.picker
    for name, picker in pickers.items():
        found[name] = clusters.foreign_picker(picker, settings)
        assigned[name] = endpoints.plain_assignment(name, picker.addresses)
    for name, hosts in refs.hosts.items():
        found[name] = clusters.backend(name, hosts.endpoints, hosts.h2c, settings, authorities)
        assigned[name] = endpoints.assignment(name, hosts.endpoints)
    return dict(sorted(found.items())), dict(sorted(assigned.items()))


def _summaries(
    bounds: tuple[attach.Bound, ...], attached: tuple[attach.Attached, ...]
) -> tuple[ListenerSummary, ...]:
    counts = Counter(id(each.bound) for each in attached)
    return tuple(
        ListenerSummary(
            gateway=f"{bound.gateway.namespace}/{bound.gateway.name}",
            name=bound.listener.name,
            hostname=bound.hostname,
            declared_port=bound.listener.port,
            port=bound.port,
            routes=counts[id(bound)],
        )
        for bound in bounds
    )
