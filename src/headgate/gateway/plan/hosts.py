"""Which rules a host name gets, in which order."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from headgate.gateway.plan.attachment import attachments, routes_of
from headgate.gateway.plan.classes import Dataplane, dataplanes
from headgate.gateway.plan.hostnames import wider_names
from headgate.gateway.plan.listeners import Listener, Table, owners, table, tables
from headgate.gateway.plan.routes import PlannedRule, planned
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import GRPCRoute, HTTPRoute
from headgate.model.problems import Place, Problem
from headgate.model.store import BUCKETS, Store

ANY_HOST = ""
"""Key of routes without host names in the index `hostname`."""


def by_hostname(each: KubeObject) -> Iterator[tuple[str, str, str, str]]:
    """Keys of the index `hostname`: kind, namespace and name of a parent, and a host name."""
    if isinstance(each, HTTPRoute | GRPCRoute):
        for ref in each.spec.parent_refs:
            for name in each.spec.hostnames or (ANY_HOST,):
                yield ref.kind, ref.namespace or each.namespace, ref.name, name


class RuleRef(msgspec.Struct, frozen=True):
    """A rule in a host's order."""

    route: Identity
    number: int
    """Which of the route's planned rules."""


class Host(msgspec.Struct, frozen=True):
    """A host name of a table, with its rules in order."""

    rules: tuple[RuleRef, ...]
    owner: Listener | None = None
    """None: no listener takes the host."""
    shadowed: tuple[Problem, ...] = ()
    """Rules that an equal match of another route takes the requests from."""


def domains(world: Store, dataplane: Dataplane, name: str) -> frozenset[str]:
    """Every host name of a table that needs rules of its own; those of its listeners among them."""
    its_table = world.get(table, dataplane, name)
    found = set(its_table.hostnames)
    for number in range(BUCKETS):
        found |= world.get(domains_of_bucket, dataplane, number).get(name, frozenset())
    return not_elsewhere(its_table, found)


def not_elsewhere(its_table: Table, found: Iterable[str]) -> frozenset[str]:
    """*found* without those that a narrower listener takes, which has its own connections."""
    if not its_table.misdirected:
        return frozenset(found)
    owners_of = (*its_table.hostnames, *its_table.misdirected)
    return frozenset(each for each in found if _owner(each, owners_of) in its_table.hostnames)


def _owner(domain: str, hostnames: Sequence[str]) -> str | None:
    """The narrowest of *hostnames* that takes *domain*."""
    return next((each for each in wider_names(domain) if each in hostnames), None)


def domains_of_bucket(world: Store, dataplane: Dataplane, number: int) -> dict[str, frozenset[str]]:
    """Table → host names that routes of one part of all routes want."""
    found: dict[str, set[str]] = {}
    for route in routes_of(world, number):
        for each in world.get(attachments, route):
            found.setdefault(each.listener.table, set()).update(each.hostnames)
    return {name: frozenset(names) for name, names in found.items()}


def host(world: Store, dataplane: Dataplane, name: str, domain: str) -> Host:
    """The rules of one host name of a table.

    A host belongs to the listener with the narrowest host name that takes it; that listener's routes are
    tried, those with the narrowest host name first.
    """
    listeners = world.get(owners, dataplane, name)
    wider = wider_names(domain)
    owner = next((listeners[each] for each in wider if each in listeners), None)
    if owner is None:
        return Host(())
    ranked: list[tuple[int, PlannedRule, RuleRef]] = []
    for rank, route in _candidates(world, owner, wider):
        rules = world.get(planned, route).rules
        ranked += ((rank, each, RuleRef(route, number)) for number, each in enumerate(rules))
    ranked.sort(key=lambda entry: (entry[0], entry[1].precedence))
    found, hidden = _first_of_each(world, domain, ranked)
    return Host(found, owner, hidden)


def _candidates(world: Store, owner: Listener, wider: list[str]) -> Iterator[tuple[int, Identity]]:
    """Routes on *owner* that take the host, with the rank of the host name by which they do."""
    parent = (owner.owner.kind, owner.owner.namespace, owner.owner.name)
    routes = {
        route: None for name in (*wider, ANY_HOST) for route in world.indexed("hostname", (*parent, name))
    }
    for route in routes:
        for each in world.get(attachments, route):
            if (each.listener.owner, each.listener.name) == (owner.owner, owner.name):
                names = [wider.index(name) for name in each.hostnames if name in wider]
                if names:
                    yield min(names), route


def _first_of_each(
    world: Store, domain: str, ranked: list[tuple[int, PlannedRule, RuleRef]]
) -> tuple[tuple[RuleRef, ...], tuple[Problem, ...]]:
    winners: dict[object, tuple[int, RuleRef, PlannedRule]] = {}
    found: list[RuleRef] = []
    shadowed: list[Problem] = []
    for rank, each, place in ranked:
        if each.rule.match not in winners:
            winners[each.rule.match] = (rank, place, each)
            found.append(place)
            continue
        its_rank, winner, _ = winners[each.rule.match]
        if its_rank == rank and winner.route != place.route:
            why = "is older" if _is_older(world, winner.route, place.route) else "comes first by name"
            message = f"{winner.route.kind} {winner.route.name} {why} and has the same match on {domain}"
            where = Place(object=str(place.route), field=each.field)
            shadowed.append(Problem(where, "Shadowed", message, "warning"))
    return tuple(found), tuple(shadowed)


def _is_older(world: Store, one: Identity, other: Identity) -> bool:
    first, second = world.any_object(one), world.any_object(other)
    return first is not None and second is not None and first.is_older(second)


def shadowed(world: Store, at: tuple[Dataplane, str, str]) -> tuple[Problem, ...]:
    """Rules of a host (dataplane, table, host name) that no request reaches."""
    return world.get(host, *at).shadowed


def all_hosts(world: Store) -> frozenset[tuple[Dataplane, str, str]]:
    """(dataplane, table, host name) of every host."""
    return frozenset(
        (dataplane, table.name, domain)
        for dataplane in world.get(dataplanes)
        for table in world.get(tables, dataplane)
        for domain in world.get(domains, dataplane, table.name)
    )
