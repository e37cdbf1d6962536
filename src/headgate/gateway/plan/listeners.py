"""Which listeners are served, at which ports, and which of them share an Envoy listener."""

from typing import Literal

import msgspec

from headgate.gateway import ir
from headgate.gateway.plan.classes import Target, gateways_of, settings, target_of
from headgate.gateway.settings import GatewaySettings
from headgate.model.meta import Identity
from headgate.model.objects import AllowedRoutes, Gateway
from headgate.model.objects import Listener as ListenerSpec
from headgate.model.store import Store

SCHEMES: dict[str, ir.Scheme] = {"HTTP": "http", "HTTPS": "https"}

Reason = Literal[
    "Accepted", "UnsupportedProtocol", "PortUnavailable", "HostnameConflict", "ProtocolConflict", "Invalid"
]
"""Of a listener: accepted, or why not."""


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A listener as written, with where it is bound."""

    gateway: Identity
    """The Gateway that it is part of."""
    owner: Identity
    """The object that it is written in: the Gateway, or a ListenerSet."""
    index: int
    """Its place in the owner's `spec.listeners`."""
    name: str
    declared: int
    """The port as written."""
    port: int
    """The port where it is bound."""
    protocol: str
    hostname: str
    """`*` when it takes every host."""
    allowed: AllowedRoutes
    reason: Reason = "Accepted"
    message: str = ""
    field: str = ""
    """What is wrong, below `spec.listeners[index]`."""

    @property
    def served(self) -> bool:
        """Requests reach it."""
        return self.reason == "Accepted"

    @property
    def scheme(self) -> ir.Scheme:
        """Of a served listener."""
        return SCHEMES[self.protocol]

    @property
    def table(self) -> str:
        """Name of the table of hosts that its requests are looked up in."""
        return f"port-{self.port}" if self.scheme == "http" else f"port-{self.port}/{self.hostname}"

    @property
    def where(self) -> str:
        """Its field in the owner."""
        return f"spec.listeners[{self.index}]"


class Table(msgspec.Struct, frozen=True):
    """Hosts and their routes, for the requests of one port; of TLS ports, of one server name."""

    target: Target
    name: str
    port: int
    """Where it is bound."""
    scheme: ir.Scheme
    public_port: int
    """As clients see it."""
    hostnames: tuple[str, ...]
    """Of its listeners, ordered."""


def bound_port(declared: int, settings: GatewaySettings) -> int:
    """Where a declared port is bound. No other listener has a say in it, so that none can move another."""
    usual = {80: settings.port, 443: settings.https_port} if not settings.per_gateway else {}
    return settings.port_map.get(declared, usual.get(declared, declared))


def written_listeners(world: Store, gateway: Identity) -> tuple[Listener, ...]:
    """Those of a Gateway of ours, in order, each judged by itself."""
    found = world.any_object(gateway)
    assert isinstance(found, Gateway)
    return tuple(
        _judged(_listener(world, gateway, gateway, index, each))
        for index, each in enumerate(found.spec.listeners)
    )


def _listener(world: Store, gateway: Identity, owner: Identity, index: int, spec: ListenerSpec) -> Listener:
    return Listener(
        gateway=gateway,
        owner=owner,
        index=index,
        name=spec.name,
        declared=spec.port,
        port=bound_port(spec.port, settings(world)),
        protocol=spec.protocol,
        hostname=spec.hostname or "*",
        allowed=spec.allowed_routes,
    )


def _judged(listener: Listener) -> Listener:
    if listener.protocol == "HTTP":
        return listener
    message = f"protocol {listener.protocol} is not supported: only HTTP listeners are served"
    if listener.protocol.upper() == "HTTP":
        message = f"protocol {listener.protocol} is unknown: write HTTP, in capitals"
    return msgspec.structs.replace(listener, reason="UnsupportedProtocol", message=message, field="protocol")


def target_listeners(world: Store, target: Target) -> tuple[Listener, ...]:
    """All listeners of one Envoy, those of the oldest Gateway first, each judged beside the others.

    Of two that would take the same requests the first one is served.
    """
    found: list[Listener] = []
    taken: dict[int, dict[str, Listener]] = {}
    for gateway in world.get(gateways_of, target):
        for each in world.get(written_listeners, gateway):
            judged = each
            if each.served:
                here = taken.setdefault(each.port, {})
                judged = _beside(each, here)
                if judged.served:
                    here[each.hostname] = each
            found.append(judged)
    return tuple(found)


def _beside(each: Listener, here: dict[str, Listener]) -> Listener:
    """*each* beside those that are served on its port, by host name."""
    other = next(iter(here.values()), None)
    if other is not None and other.scheme != each.scheme:
        message = f"port {each.port} serves protocol {other.protocol} for {_named(other)}"
        return msgspec.structs.replace(each, reason="ProtocolConflict", message=message, field="protocol")
    same = here.get(each.hostname)
    if same is None:
        return each
    if same.declared != each.declared:
        message = (
            f"ports {same.declared} and {each.declared} are both bound at {each.port}, where {_named(same)} "
            f"has the same host name: bind this one elsewhere with --port-map {each.declared}:PORT"
        )
        return msgspec.structs.replace(each, reason="PortUnavailable", message=message, field="port")
    host = "every host" if each.hostname == "*" else f"host {each.hostname}"
    message = f"{_named(same)} has port {each.declared} and {host} already: give one of them another hostname"
    return msgspec.structs.replace(each, reason="HostnameConflict", message=message, field="hostname")


def _named(listener: Listener) -> str:
    owner = listener.owner
    return f"listener {listener.name!r} of {owner.kind} {owner.namespace}/{owner.name}"


def listeners_of(world: Store, gateway: Identity) -> tuple[Listener, ...]:
    """Those of one Gateway of ours, judged."""
    found = world.get(target_listeners, world.get(target_of, gateway))
    return tuple(each for each in found if each.gateway == gateway)


def tables(world: Store, target: Target) -> tuple[Table, ...]:
    """The tables of one Envoy, ordered by name."""
    grouped: dict[str, list[Listener]] = {}
    for each in world.get(target_listeners, target):
        if each.served:
            grouped.setdefault(each.table, []).append(each)
    told = settings(world)
    return tuple(
        Table(
            target=target,
            name=name,
            port=group[0].port,
            scheme=group[0].scheme,
            public_port=group[0].declared if told.per_gateway else group[0].port,
            hostnames=tuple(sorted({each.hostname for each in group})),
        )
        for name, group in sorted(grouped.items())
    )


def table(world: Store, target: Target, name: str) -> Table:
    """One of them."""
    return next(each for each in world.get(tables, target) if each.name == name)


def owners(world: Store, target: Target, name: str) -> dict[str, Listener]:
    """Host name → listener of a table."""
    return {
        each.hostname: each
        for each in world.get(target_listeners, target)
        if each.served and each.table == name
    }
