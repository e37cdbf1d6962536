"""What is served, in numbers for people."""

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from headgate.gateway import ir
from headgate.gateway.plan.attachment import attachments, routes_of
from headgate.gateway.plan.classes import Dataplane, dataplanes
from headgate.gateway.plan.listeners import dataplane_listeners
from headgate.model import topology
from headgate.model.endpoints import Pool
from headgate.model.meta import Identity
from headgate.model.store import BUCKETS, Store

ListenerKey = tuple[Identity, str]
"""The object that a listener is written in, and its name."""


class ListenerSummary(msgspec.Struct, frozen=True):
    """A served listener."""

    gateway: str
    """`namespace/name`."""
    name: str
    hostname: str
    declared_port: int
    port: int
    """Where it is bound."""
    routes: int
    scheme: ir.Scheme = "http"


class Summary(msgspec.Struct, frozen=True):
    """What one Envoy serves."""

    listeners: tuple[ListenerSummary, ...]
    routes: int
    """Routes attached to at least one listener."""
    pools: tuple[Pool, ...]


def whole(world: Store) -> Summary:
    """Of all Envoys together."""
    return _summary(world, sorted(world.get(dataplanes)))


def summary(world: Store, dataplane: Dataplane) -> Summary:
    """Of one Envoy."""
    return _summary(world, (dataplane,))


def _summary(world: Store, of: Iterable[Dataplane]) -> Summary:
    counts: Counter[ListenerKey] = Counter()
    routes = 0
    for number in range(BUCKETS):
        some, by_listener = world.get(_counts, number)
        routes += some
        counts.update(by_listener)
    return Summary(
        tuple(
            ListenerSummary(
                gateway=f"{each.gateway.namespace}/{each.gateway.name}",
                name=each.name,
                hostname=each.hostname,
                declared_port=each.declared,
                port=each.port,
                routes=counts[each.owner, each.name],
                scheme=each.scheme,
            )
            for dataplane in of
            for each in world.get(dataplane_listeners, dataplane)
            if each.served
        ),
        routes,
        world.get(_pools),
    )


def _pools(world: Store) -> tuple[Pool, ...]:
    """By themselves: a change of routes does not look at them again."""
    found = (world.get(topology.pool, key) for key in sorted(world.get(topology.pool_keys)))
    return tuple(each for each in found if each is not None)


def _counts(world: Store, number: int) -> tuple[int, Mapping[ListenerKey, int]]:
    """Attached routes of one part of all routes, and how many are on which listener."""
    counts: Counter[ListenerKey] = Counter()
    routes = 0
    for route in routes_of(world, number):
        found = world.get(attachments, route)
        routes += bool(found)
        counts.update((each.listener.owner, each.listener.name) for each in found)
    return routes, counts
