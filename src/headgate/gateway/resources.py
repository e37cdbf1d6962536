"""The plan → Envoy's resources, each a computation: what changes is what read something that changed.

Three life cycles: endpoints, clusters, routes. Nothing of a cluster or a route depends on an endpoint.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, assert_never

import msgspec
from msgspec.structs import replace

from headgate.gateway import ir
from headgate.gateway.api import Position
from headgate.gateway.envoy import access as envoy_access
from headgate.gateway.envoy import (
    clusters,
    encode,
    endpoints,
    listeners,
    model_answers,
    model_routing,
    names,
    probe,
    protos,
    relay,
    routes,
    scopes,
    secrets,
)
from headgate.gateway.envoy.names import Json
from headgate.gateway.plan import access, backend_auth, backend_refs, flows, hosts
from headgate.gateway.plan.attachment import attachments, routes_of
from headgate.gateway.plan.backend_refs import by_cluster
from headgate.gateway.plan.base_models import in_namespace
from headgate.gateway.plan.certificates import client_certificate, pair
from headgate.gateway.plan.classes import Dataplane, gateways_of, settings
from headgate.gateway.plan.listeners import Table, bound_port, table, tables
from headgate.gateway.plan.routes import any_relayed, backends_of, planned
from headgate.gateway.plan.scopes import ALL_GROUPS, domains_in, elsewhere, grouped, wildcards
from headgate.gateway.xds.linger import Hosts
from headgate.gateway.xds.versions import Kind, Resource, resource, version
from headgate.model import pickers, topology
from headgate.model.endpoints import ForeignPicker, Pool
from headgate.model.ids import PoolKey
from headgate.model.meta import Identity
from headgate.model.store import BUCKETS, Store
from headgate.model.tls_material import Pair

Key = tuple[Dataplane, Kind, str]
"""A resource: the Envoy that it is for, its kind, its name."""


class RenderedRule(msgspec.Struct, frozen=True):
    """The Envoy Routes of one rule."""

    match: Json
    """Envoy's RouteMatch of them all; each may ask for more."""
    json: tuple[Json, ...]
    body: bytes
    """Serialized, as fields of their virtual host."""
    clusters: frozenset[str]
    """What it names."""
    before: tuple[Json, ...] = ()
    """Routes that come before all others of the host."""
    before_body: bytes = b""


class RenderedHost(msgspec.Struct, frozen=True):
    """An Envoy VirtualHost."""

    body: bytes
    """Serialized, as a field of its configuration."""
    clusters: frozenset[str]


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
    json = world.get(as_json, key)
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


def rendered(world: Store, route: Identity, at: Position) -> tuple[RenderedRule, ...]:
    """The Envoy routes of a route's planned rules, in their order."""
    told, who = settings(world), world.get(access.of_route, route)
    found: list[RenderedRule] = []
    for each in world.get(planned, route).rules:
        flow = world.get(flows.of_rule, route, each.rule.metadata.get("rule"))
        json = routes.routes(each.rule, at, told, who, flow)
        match = routes.match(each.rule.match)
        before = routes.fallbacks(each.rule, at, told, who, flow)
        one = _rendered(match, json, routes.clusters_of(each.rule))
        found.append(replace(one, before=before, before_body=b"".join(map(encode.route, before))))
    return tuple(found)


def _rendered(match: Json, json: tuple[Json, ...], clusters: frozenset[str]) -> RenderedRule:
    return RenderedRule(match, json, b"".join(map(encode.route, json)), clusters)


def position(world: Store, found: Table) -> Position:
    """Where the listeners of a table stand."""
    told = settings(world)
    if told.per_gateway:
        return Position(found.scheme, found.public_port)
    return Position(found.scheme, found.public_port, bound_port(80, told), bound_port(443, told))


def rendered_unread(world: Store, route: Identity, at: Position) -> tuple[RenderedRule, ...]:
    """The same for requests whose bodies need not be read, in tables where models are matched."""
    found: list[RenderedRule] = []
    for each in world.get(rendered, route, at):
        json = tuple(_unread(one) for one in each.json)
        body = b"".join(map(encode.route, json))
        found.append(replace(each, json=json, body=body))
    return tuple(found)


def _unread(route: Json) -> Json:
    own = route.get("typed_per_filter_config", {})
    return {**route, "typed_per_filter_config": {**own, **model_routing.switched_off()}}


def host_rules(world: Store, dataplane: Dataplane, name: str, domain: str) -> list[RenderedRule]:
    """The Envoy routes of one host of a table, in order; where models are matched, with what answers last."""
    at = position(world, world.get(table, dataplane, name))
    places = world.get(hosts.host, dataplane, name, domain).rules
    found = [world.get(rendered, each.route, at)[each.number] for each in places]
    if not world.get(some_rule, dataplane, name, "by_model"):
        return found
    matches = [each.match for each in found]
    needed = model_routing.must_be_read(matches)
    found = [
        each if read else world.get(rendered_unread, place.route, at)[place.number]
        for place, each, read in zip(places, found, needed, strict=True)
    ]
    last = model_answers.last_routes(matches, world.get(base_models, dataplane))
    first = _models(world, [world.get(planned, each.route).rules[each.number].rule for each in places], at)
    return [*first, *found, *(_rendered(json["match"], (json,), frozenset()) for json in last)]


def _host(world: Store, dataplane: Dataplane, name: str, domain: str) -> RenderedHost:
    found = host_rules(world, dataplane, name, domain)
    bodies = (*(each.before_body for each in found), *(each.body for each in found))
    body = encode.host(_outer_host(world, dataplane, name, domain), bodies)
    return RenderedHost(body, frozenset().union(*(each.clusters for each in found)))


def _models(world: Store, rules: Sequence[ir.Rule], at: Position) -> Iterator[RenderedRule]:
    """What lists the models of all pools of a host, before all else.

    None where a rule leads that path away from pools.
    """
    pools: dict[str, ir.PoolBackend] = {}
    for each in rules:
        backends = backends_of(each)
        of_pools = all(isinstance(one, ir.PoolBackend) for one in backends)
        if each.match.path == routes.MODELS and not of_pools:
            return
        pools |= {
            one.cluster: replace(one, fallback=None)
            for one in backends
            if isinstance(one, ir.PoolBackend) and one.pool.picker is None
        }
    if pools:
        json = routes.models(tuple(pools.values()), at, settings(world))
        yield _rendered(json["match"], (json,), frozenset((*pools, names.OWN_PICKER)))


def _outer_host(world: Store, dataplane: Dataplane, name: str, domain: str) -> Json:
    owner = world.get(hosts.host, dataplane, name, domain).owner
    flow = None if owner is None else world.get(flows.of_listener, owner.gateway, owner.owner, owner.name)
    return routes.host(domain, settings(world), world.get(who_may_call, dataplane, name, domain), flow)


def who_may_call(world: Store, dataplane: Dataplane, name: str, domain: str) -> ir.Access | None:
    """What holds for a host, where its routes say nothing.

    Where models are matched, Envoy settles whether keys are looked at by its first choice of a route, before
    it knows the model. So a host of which one route is for clients of its own is closed to all others there.
    """
    its_host = world.get(hosts.host, dataplane, name, domain)
    owner = its_host.owner
    found = None if owner is None else world.get(access.of_listener, owner.gateway, owner.owner, owner.name)
    if found is None and world.get(some_rule, dataplane, name, "by_model"):
        for each in its_host.rules:
            if world.get(access.of_route, each.route) is not None:
                return ir.Access("routes of their own")
    return found


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
) -> RenderedHost:
    """A route configuration of hosts of a table, and of *others*, which are whole."""
    found = [world.get(_host, dataplane, name, each) for each in domains]
    hosts = (*(each.body for each in found), *(encode.host(each, ()) for each in others))
    named = frozenset[str]().union(*(each.clusters for each in found))
    return RenderedHost(encode.configuration(outer, hosts), named)


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
        _outer_host(world, dataplane, name, domain)
        | {"routes": _in_order(host_rules(world, dataplane, name, domain))}
        for domain in domains
    ]
    return {"virtual_hosts": [*found, *others]}


def _in_order(rules: list[RenderedRule]) -> list[Json]:
    before = [one for each in rules for one in each.before]
    return before + [one for each in rules for one in each.json]


def _outer(world: Store, dataplane: Dataplane, name: str) -> Json:
    modelled = world.get(some_rule, dataplane, name, "by_model")
    fallbacks = world.get(some_rule, dataplane, name, "has_fallback")
    return routes.configuration(name, modelled, world.get(base_models, dataplane), fallbacks)


Trait = Literal["by_model", "has_fallback"]
"""A property of a planned rule."""


def some_rule(world: Store, dataplane: Dataplane, name: str, trait: Trait) -> bool:
    """Whether some rule of a table's routes has a trait."""
    return any(name in world.get(_tables_with, dataplane, number, trait) for number in range(BUCKETS))


def _tables_with(world: Store, dataplane: Dataplane, number: int, trait: Trait) -> frozenset[str]:
    """Tables on which a route of one part of all routes has a rule with the trait."""
    return frozenset(
        each.listener.table
        for route in routes_of(world, number)
        if any(getattr(rule, trait) for rule in world.get(planned, route).rules)
        for each in world.get(attachments, route)
    )


def base_models(world: Store, dataplane: Dataplane) -> Mapping[str, str]:
    """Name of a model → its base model, for the Gateways of an Envoy; that of the oldest first."""
    found: dict[str, str] = {}
    for namespace in dict.fromkeys(each.namespace for each in world.get(gateways_of, dataplane)):
        for name, base in world.get(in_namespace, namespace).items():
            found.setdefault(name, base)
    return found


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
