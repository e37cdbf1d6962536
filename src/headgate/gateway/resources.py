"""The plan → Envoy's resources, each a computation: what changes is what read something that changed.

Three life cycles: endpoints, clusters, routes. Nothing of a cluster or a route depends on an endpoint.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

from msgspec.structs import replace

from headgate.gateway import ir, virtual_hosts
from headgate.gateway.envoy import access as envoy_access
from headgate.gateway.envoy import (
    clusters,
    encode,
    endpoints,
    listeners,
    names,
    probe,
    protos,
    relay,
    routes,
    scopes,
    secrets,
)
from headgate.gateway.envoy.names import Json
from headgate.gateway.plan import access, backend_auth, backend_refs, hosts
from headgate.gateway.plan.attachment import attachments, routes_of
from headgate.gateway.plan.backend_refs import by_cluster
from headgate.gateway.plan.certificates import client_certificate, pair
from headgate.gateway.plan.classes import Dataplane, gateways_of, settings
from headgate.gateway.plan.listeners import Table, table, tables
from headgate.gateway.plan.routes import any_relayed, backends_of, planned
from headgate.gateway.plan.scopes import ALL_GROUPS, domains_in, elsewhere, grouped, wildcards
from headgate.gateway.xds.linger import Hosts
from headgate.gateway.xds.versions import Kind, Resource, resource, version
from headgate.model import pickers, topology
from headgate.model.endpoints import ForeignPicker, Pool
from headgate.model.ids import PoolKey
from headgate.model.store import BUCKETS, Store
from headgate.model.tls_material import Pair

Key = tuple[Dataplane, Kind, str]
"""A resource: the Envoy that it is for, its kind, its name."""


def keys(world: Store, dataplane: Dataplane) -> frozenset[Key]:
    """Every resource that one Envoy is to have."""
    return frozenset(
        (dataplane, kind, name) for kind, found in world.get(names_of, dataplane).items() for name in found
    )


def names_of(world: Store, dataplane: Dataplane) -> Mapping[Kind, frozenset[str]]:
    """Kind → names of the resources that one Envoy is to have."""
    found = world.get(tables, dataplane)
    probed = {probe.NAME} if settings(world).probe_socket is not None else set()
    used = world.get(used_clusters, dataplane)
    assigned = {each for each in used if each not in (names.OWN_PICKER, names.RELAY)}
    own = probed | ({relay.NAME} & used)
    tokens = (each.uri for _, each in world.get(access.token_policies))
    issuers = {envoy_access.issuer_cluster(uri) for uri in tokens if uri is not None}
    certificates = {names.certificate(each) for table in found for each in table.certificates}
    client = world.get(client_secret, dataplane)
    if client is not None:
        certificates.add(client)
    return {
        "secret": frozenset(certificates),
        "listener": frozenset(own | {listener_name(each) for each in found}),
        "route": frozenset(own | {each.name for each in found if not grouped(world, dataplane, each.name)}),
        "scope": frozenset(
            scopes.name(each.name, group)
            for each in found
            if grouped(world, dataplane, each.name)
            for group in ALL_GROUPS
        ),
        "cluster": frozenset(used | issuers | {names.OWN_PICKER}),
        "endpoint": frozenset(assigned),
    }


def one(world: Store, key: Key) -> Resource:
    """A resource, ready to be sent."""
    dataplane, kind, name = key
    if kind == "route" and name not in (probe.NAME, relay.NAME):
        return world.get(_route_resource, dataplane, name)
    if kind == "scope":
        return world.get(_scope_resource, dataplane, name)
    if kind == "endpoint":
        return assigned(name, world.get(hosts_of, name))
    json = as_json(world, key)  # not remembered: it is asked for once more only by people
    return resource(kind, name, json, protos.serialized(kind, json))


def as_json(world: Store, key: Key) -> Json:
    """A resource as protobuf JSON: for people, and to be serialized where it is not put together of parts."""
    dataplane, kind, name = key
    match kind:
        case "listener":
            return _listener(world, dataplane, name)
        case "route":
            return _route_json(world, dataplane, name)
        case "cluster":
            return _cluster(world, dataplane, name)
        case "endpoint":
            return _assignment(world, name)
        case "secret":
            return _secret(world, name)
        case "scope":
            return _scope_json(world, dataplane, name)
        case _:
            assert_never(kind)


def assigned(name: str, hosts: Hosts, draining: Hosts | None = None) -> Resource:
    """The endpoints of a cluster, and those that are to get nothing new."""
    body = encode.assignment(name, hosts.values(), (draining or {}).values())
    return _of_body("endpoint", name, body, frozenset())


def hosts_of(world: Store, name: str) -> Hosts:
    """The endpoints of a cluster by address, serialized."""
    prefix, _, rest = name.partition("/")
    if prefix == names.PICKER:
        return endpoints.plain_hosts(world.get(pickers.picker_addresses, rest))
    return endpoints.hosts(backend_refs.endpoints(world, name))


def listener_name(table: Table) -> str:
    """Tables of one port share a listener."""
    return table.name.partition("/")[0]


def _listener(world: Store, dataplane: Dataplane, name: str) -> Json:
    told = settings(world)
    if name == probe.NAME:
        assert told.probe_socket is not None
        return probe.listener(told.probe_socket, told)
    if name == relay.NAME:
        return listeners.relay_listener(told)
    found = [each for each in world.get(tables, dataplane) if listener_name(each) == name]
    tokens = world.get(access.token_policies)
    return listeners.listener(name, found[0].port, [_chain(world, each) for each in found], told, tokens)


def _chain(world: Store, found: Table) -> listeners.Chain:
    in_groups = grouped(world, found.dataplane, found.name)
    if found.scheme == "http":
        return listeners.Chain(found.name, grouped=in_groups)
    return listeners.Chain(
        found.name,
        None if found.hostnames == ("*",) else found.hostnames[0],
        tuple(names.certificate(each) for each in found.certificates),
        None if found.clients is None else found.clients.authorities,
        found.clients is None or found.clients.required,
        in_groups,
    )


def _secret(world: Store, name: str) -> Json:
    namespace, _, secret = name.partition("/")[2].partition("/")
    found = world.get(pair, namespace, secret)
    if not isinstance(found, Pair):
        raise LookupError(f"there is no certificate in Secret {namespace}/{secret}")
    return secrets.certificate(name, found)


def _route_resource(world: Store, dataplane: Dataplane, name: str) -> Resource:
    others = _misdirected(world, dataplane, name)
    found = _configuration(
        world,
        dataplane,
        name,
        _ordered_domains(world, dataplane, name),
        others,
        _outer(world, dataplane, name),
    )
    return _of_body("route", name, found.body, found.clusters)


def _scope_resource(world: Store, dataplane: Dataplane, name: str) -> Resource:
    its_table, group = scopes.parts(name)
    found = _configuration(
        world,
        dataplane,
        its_table,
        _ordered_in_group(world, dataplane, its_table, group),
        _misdirected_in(world, dataplane, its_table, group),
        scopes.configuration(name, _outer(world, dataplane, its_table)),
    )
    return _of_body("scope", name, encode.scope(scopes.outer(name), found.body), found.clusters)


def _configuration(
    world: Store, dataplane: Dataplane, name: str, domains: Iterable[str], others: Iterable[Json], outer: Json
) -> virtual_hosts.RenderedHost:
    """A route configuration of hosts of a table, and of *others*, which are whole."""
    found = [world.get(virtual_hosts.host, dataplane, name, each) for each in domains]
    hosts = (*(each.body for each in found), *(encode.host(each, ()) for each in others))
    named = frozenset[str]().union(*(each.clusters for each in found))
    return virtual_hosts.RenderedHost(encode.configuration(outer, hosts), named)


def _of_body(kind: Kind, name: str, body: bytes, clusters: frozenset[str]) -> Resource:
    return Resource(kind=kind, name=name, version=version(body), body=body, names_clusters=clusters)


def _route_json(world: Store, dataplane: Dataplane, name: str) -> Json:
    if name == probe.NAME:
        return probe.configuration(
            pool
            for key in sorted(world.get(topology.pool_keys))
            if (pool := world.get(topology.pool_settings, key)) is not None
        )
    if name == relay.NAME:
        parts = (world.get(_relays_of_bucket, dataplane, number) for number in range(BUCKETS))
        relays = [each for part in parts for each in part]
        return relay.configuration(relays, settings(world).body_limit_bytes)
    domains, others = _ordered_domains(world, dataplane, name), _misdirected(world, dataplane, name)
    return {**_outer(world, dataplane, name), **_configuration_json(world, dataplane, name, domains, others)}


def _scope_json(world: Store, dataplane: Dataplane, name: str) -> Json:
    its_table, group = scopes.parts(name)
    domains = _ordered_in_group(world, dataplane, its_table, group)
    others = _misdirected_in(world, dataplane, its_table, group)
    found = _configuration_json(world, dataplane, its_table, domains, others)
    inline = {**scopes.configuration(name, _outer(world, dataplane, its_table)), **found}
    return {**scopes.outer(name), "route_configuration": inline}


def _configuration_json(
    world: Store, dataplane: Dataplane, name: str, domains: Iterable[str], others: Iterable[Json]
) -> Json:
    found = [
        virtual_hosts.outer_host(world, dataplane, name, domain)
        | {"routes": _in_order(virtual_hosts.host_rules(world, dataplane, name, domain, True))}
        for domain in domains
    ]
    return {"virtual_hosts": [*found, *others]}


def _in_order(rules: list[virtual_hosts.RenderedRule]) -> list[Json]:
    before = [one for each in rules for one in each.before]
    return before + [one for each in rules for one in each.json]


def _outer(world: Store, dataplane: Dataplane, name: str) -> Json:
    modelled = world.get(virtual_hosts.some_rule, dataplane, name, "by_model")
    fallbacks = world.get(virtual_hosts.some_rule, dataplane, name, "has_fallback")
    return routes.configuration(name, modelled, world.get(virtual_hosts.base_models, dataplane), fallbacks)


def _misdirected(world: Store, dataplane: Dataplane, name: str) -> list[Json]:
    """Virtual hosts for the host names of other TLS listeners."""
    own = world.get(hosts.domains, dataplane, name)
    others = world.get(table, dataplane, name).misdirected
    return [routes.misdirected(each) for each in others if each not in own]


def _misdirected_in(world: Store, dataplane: Dataplane, name: str, group: int) -> list[Json]:
    own = (*world.get(domains_in, dataplane, name, group), *world.get(wildcards, dataplane, name))
    others = elsewhere(world.get(table, dataplane, name), group, own)
    return [routes.misdirected(each) for each in others]


def _ordered_in_group(world: Store, dataplane: Dataplane, name: str, group: int) -> list[str]:
    """The hosts of a group, wildcards among them."""
    return sorted((*world.get(domains_in, dataplane, name, group), *world.get(wildcards, dataplane, name)))


def _ordered_domains(world: Store, dataplane: Dataplane, name: str) -> list[str]:
    return sorted(world.get(hosts.domains, dataplane, name))


def used_clusters(world: Store, dataplane: Dataplane) -> frozenset[str]:
    """Clusters of backends that routes of an Envoy lead to, of the pools and of their pickers."""
    found = set(world.get(_clusters_led_to, dataplane))
    if not settings(world).per_gateway:
        found |= {names.pool(key) for key in world.get(topology.pool_keys)}
    for cluster in tuple(found):
        picker = world.get(picker_of, cluster)
        if picker is not None:
            found.add(names.picker(picker.service))
    return frozenset(found)


def _clusters_led_to(world: Store, dataplane: Dataplane) -> frozenset[str]:
    return frozenset().union(
        *(world.get(_clusters_of_bucket, dataplane, number) for number in range(BUCKETS))
    )


def _attached_rules(world: Store, dataplane: Dataplane, number: int) -> list[ir.Rule]:
    """Rules of one part of all routes, of those that are on a table of the Envoy."""
    known = {each.name for each in world.get(tables, dataplane)}
    return [
        each.rule
        for route in routes_of(world, number)
        if any(each.listener.table in known for each in world.get(attachments, route))
        for each in world.get(planned, route).rules
    ]


def _relays_of_bucket(world: Store, dataplane: Dataplane, number: int) -> tuple[Json, ...]:
    told = settings(world)
    rules = _attached_rules(world, dataplane, number)
    return tuple(json for each in rules for json in routes.relays(each, told))


def _clusters_of_bucket(world: Store, dataplane: Dataplane, number: int) -> frozenset[str]:
    rules = _attached_rules(world, dataplane, number)
    found = {backend.cluster for rule in rules for backend in backends_of(rule)}
    return frozenset(found | {names.RELAY for rule in rules if any_relayed(rule)})


def picker_of(world: Store, cluster: str) -> ForeignPicker | None:
    """The foreign picker of a pool's cluster."""
    pool = _pool(world, cluster)
    return None if pool is None else pool.picker


def _pool(world: Store, cluster: str) -> Pool | None:
    prefix, _, rest = cluster.partition("/")
    return world.get(topology.pool_settings, PoolKey(rest)) if prefix == names.POOL else None


def client_secret(world: Store, dataplane: Dataplane) -> str | None:
    """The resource with the certificate that the gateway shows to backends."""
    found = client_certificate(world, world.get(gateways_of, dataplane))
    return None if found is None else names.certificate(found)


def _cluster(world: Store, dataplane: Dataplane, name: str) -> Json:
    told = settings(world)
    if name == names.OWN_PICKER:
        return clusters.own_picker(told)
    if name == names.RELAY:
        return clusters.relay(told)
    prefix, _, rest = name.partition("/")
    if prefix == envoy_access.ISSUER:
        return clusters.issuer(name, rest, told)
    if prefix == names.PICKER:
        return clusters.foreign_picker(world.get(pickers.picker_by_service, rest), told)
    client = world.get(client_secret, dataplane)
    key = world.get(backend_auth.of, *backend_refs.object_of(name))
    match world.get(by_cluster, name):
        case ir.PoolBackend() as found:
            return clusters.pool(replace(found, tls=_shows(found.tls, client)), told, key)
        case ir.HostsBackend() as found:
            return clusters.hosts(replace(found, tls=_shows(found.tls, client)), told, key)
        case None:
            raise LookupError(f"nothing is behind cluster {name}")


def _shows(tls: ir.LabelledTls, client: str | None) -> ir.LabelledTls:
    return tls if client is None else tuple((label, replace(each, client=client)) for label, each in tls)


def _assignment(world: Store, name: str) -> Json:
    prefix, _, rest = name.partition("/")
    if prefix == names.PICKER:
        return endpoints.plain_assignment(name, world.get(pickers.picker_addresses, rest))
    return endpoints.assignment(name, backend_refs.endpoints(world, name))
