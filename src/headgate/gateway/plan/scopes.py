"""Which tables are cut into groups of hosts, and which hosts each group has."""

from collections.abc import Iterable, Iterator

from headgate.gateway.host_groups import GROUPS, group_of, is_exact
from headgate.gateway.plan.attachment import attachments
from headgate.gateway.plan.classes import Dataplane, dataplanes, settings
from headgate.gateway.plan.hosts import domains, domains_of_bucket, not_elsewhere
from headgate.gateway.plan.listeners import Table, table, tables
from headgate.model.meta import KubeObject
from headgate.model.objects import GRPCRoute, HTTPRoute
from headgate.model.store import BUCKETS, Store


def by_host_group(each: KubeObject) -> Iterator[int]:
    """Keys of the index `host_group`: groups of the exact host names that a route wants."""
    if isinstance(each, HTTPRoute | GRPCRoute):
        yield from {group_of(name) for name in each.spec.hostnames if is_exact(name)}


def note_grouped(world: Store) -> None:
    """Cut up the tables that have many hosts now; to be called before anything is asked of tables.

    A table that was cut up once stays so: its listener says how hosts are looked up, and another listener
    costs the requests that outlive its predecessor's end.
    """
    for key in world.get(to_be_grouped):
        world.set("grouped", key, True)


def to_be_grouped(world: Store) -> frozenset[tuple[Dataplane, str]]:
    """(dataplane, table) of those that have many hosts, or had."""
    most = settings(world).grouped_from
    return frozenset(
        (dataplane, each.name)
        for dataplane in world.get(dataplanes)
        for each in world.get(tables, dataplane)
        if grouped(world, dataplane, each.name) or len(world.get(domains, dataplane, each.name)) >= most
    )


def grouped(world: Store, dataplane: Dataplane, name: str) -> bool:
    """Whether the hosts of a table are looked up by groups."""
    return world.entry("grouped", (dataplane, name)) is not None


def domains_in(world: Store, dataplane: Dataplane, name: str, group: int) -> frozenset[str]:
    """The exact host names in a group that need rules of their own."""
    its_table = world.get(table, dataplane, name)
    names = set(its_table.hostnames)
    for route in world.indexed("host_group", group):
        for each in world.get(attachments, route):
            if each.listener.table == name:
                names.update(each.hostnames)  # thousands of routes may have one
    return not_elsewhere(its_table, {each for each in names if _is_in(each, group)})


def wildcards(world: Store, dataplane: Dataplane, name: str) -> frozenset[str]:
    """The other host names that need rules of their own; all groups have them."""
    its_table = world.get(table, dataplane, name)
    found = {each for each in its_table.hostnames if not is_exact(each)}
    for number in range(BUCKETS):
        found |= world.get(_wildcards_of_bucket, dataplane, number).get(name, frozenset())
    return not_elsewhere(its_table, found)


def _wildcards_of_bucket(world: Store, dataplane: Dataplane, number: int) -> dict[str, frozenset[str]]:
    found = world.get(domains_of_bucket, dataplane, number)
    wild = {name: frozenset(each for each in some if not is_exact(each)) for name, some in found.items()}
    return {name: some for name, some in wild.items() if some}


def elsewhere(its_table: Table, group: int, own: Iterable[str]) -> list[str]:
    """Host names of the port's other TLS listeners that a group answers for."""
    known = set(own)
    return [
        each
        for each in its_table.misdirected
        if each not in known and (not is_exact(each) or _is_in(each, group))
    ]


def _is_in(host: str, group: int) -> bool:
    return is_exact(host) and group_of(host) == group


def hosts_in(world: Store, group: int) -> frozenset[tuple[Dataplane, str, str]]:
    """(dataplane, table, host name) of every host in a group; wildcards count to the first."""
    return frozenset(
        (dataplane, each.name, domain)
        for dataplane in world.get(dataplanes)
        for each in world.get(tables, dataplane)
        for domain in (
            *world.get(domains_in, dataplane, each.name, group),
            *(world.get(wildcards, dataplane, each.name) if group == 0 else ()),
        )
    )


ALL_GROUPS = range(GROUPS)
