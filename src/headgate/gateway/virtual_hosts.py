"""One host of a table as Envoy has it: the routes of its rules, each serialized by itself and remembered."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from headgate.gateway import ir
from headgate.gateway.api import Position
from headgate.gateway.envoy import encode, model_answers, model_routing, names, routes
from headgate.gateway.envoy.names import Json
from headgate.gateway.plan import access, flows, hosts
from headgate.gateway.plan.attachment import attachments, routes_of
from headgate.gateway.plan.base_models import in_namespace
from headgate.gateway.plan.classes import Dataplane, gateways_of, settings
from headgate.gateway.plan.listeners import Table, bound_port, table
from headgate.gateway.plan.routes import backends_of, planned
from headgate.model.meta import Identity
from headgate.model.store import BUCKETS, Store


class RenderedRule(msgspec.Struct, frozen=True):
    """The Envoy Routes of one rule."""

    match: Json
    """Envoy's RouteMatch of them all; each may ask for more."""
    body: bytes
    """Serialized, as fields of their virtual host."""
    clusters: frozenset[str]
    """What it names."""
    before_body: bytes = b""
    """The same of routes that come before all others of the host."""
    json: tuple[Json, ...] = ()
    """The routes, where they are to be shown: five times as large."""
    before: tuple[Json, ...] = ()


class RenderedHost(msgspec.Struct, frozen=True):
    """An Envoy VirtualHost."""

    body: bytes
    """Serialized, as a field of its configuration."""
    clusters: frozenset[str]


def rendered(world: Store, route: Identity, at: Position, shown: bool) -> tuple[RenderedRule, ...]:
    """The Envoy routes of a route's planned rules, in their order; with their JSON only if *shown*."""
    told, who = settings(world), access.of_route(world, route)
    found: list[RenderedRule] = []
    for each in world.get(planned, route).rules:
        flow = flows.of_rule(world, route, each.rule.metadata.get("rule"))
        json = routes.routes(each.rule, at, told, who, flow)
        match = routes.match(each.rule.match)
        before = routes.fallbacks(each.rule, at, told, who, flow)
        found.append(_rendered(match, json, routes.clusters_of(each.rule), shown, before))
    return tuple(found)


def _rendered(
    match: Json,
    json: tuple[Json, ...],
    clusters: frozenset[str],
    shown: bool,
    before: tuple[Json, ...] = (),
) -> RenderedRule:
    body, before_body = (b"".join(map(encode.route, some)) for some in (json, before))
    if not shown:
        return RenderedRule(match, body, clusters, before_body)
    return RenderedRule(match, body, clusters, before_body, json, before)


def position(world: Store, found: Table) -> Position:
    """Where the listeners of a table stand."""
    told = settings(world)
    if told.per_gateway:
        return Position(found.scheme, found.public_port)
    return Position(found.scheme, found.public_port, bound_port(80, told), bound_port(443, told))


def rendered_unread(world: Store, route: Identity, at: Position, shown: bool) -> tuple[RenderedRule, ...]:
    """The same for requests whose bodies need not be read, in tables where models are matched."""
    return tuple(
        _rendered(each.match, tuple(map(_unread, each.json)), each.clusters, shown, each.before)
        for each in rendered(world, route, at, True)
    )


def _unread(route: Json) -> Json:
    own = route.get("typed_per_filter_config", {})
    return {**route, "typed_per_filter_config": {**own, **model_routing.switched_off()}}


def host_rules(world: Store, dataplane: Dataplane, name: str, domain: str, shown: bool) -> list[RenderedRule]:
    """The Envoy routes of one host of a table, in order; where models are matched, with what answers last."""
    at = position(world, world.get(table, dataplane, name))
    places = world.get(hosts.host, dataplane, name, domain).rules
    found = [world.get(rendered, each.route, at, shown)[each.number] for each in places]
    if not world.get(some_rule, dataplane, name, "by_model"):
        return found
    matches = [each.match for each in found]
    needed = model_routing.must_be_read(matches)
    found = [
        each if read else world.get(rendered_unread, place.route, at, shown)[place.number]
        for place, each, read in zip(places, found, needed, strict=True)
    ]
    last = model_answers.last_routes(matches, world.get(base_models, dataplane))
    rules = [world.get(planned, each.route).rules[each.number].rule for each in places]
    first = _models(world, rules, at, shown)
    return [*first, *found, *(_rendered(json["match"], (json,), frozenset(), shown) for json in last)]


def host(world: Store, dataplane: Dataplane, name: str, domain: str) -> RenderedHost:
    """One host of a table, with the routes of its rules."""
    found = host_rules(world, dataplane, name, domain, False)
    bodies = (*(each.before_body for each in found), *(each.body for each in found))
    body = encode.host(outer_host(world, dataplane, name, domain), bodies)
    return RenderedHost(body, frozenset().union(*(each.clusters for each in found)))


def _models(world: Store, rules: Sequence[ir.Rule], at: Position, shown: bool) -> Iterator[RenderedRule]:
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
        yield _rendered(json["match"], (json,), frozenset((*pools, names.OWN_PICKER)), shown)


def outer_host(world: Store, dataplane: Dataplane, name: str, domain: str) -> Json:
    """The Envoy VirtualHost without its routes."""
    owner = world.get(hosts.host, dataplane, name, domain).owner
    flow = None if owner is None else world.get(flows.of_listener, owner.gateway, owner.owner, owner.name)
    return routes.host(domain, settings(world), who_may_call(world, dataplane, name, domain), flow)


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
            if access.of_route(world, each.route) is not None:
                return ir.Access("routes of their own")
    return found


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
