"""Which listeners are served, at which ports, and which of them share an Envoy listener."""

from collections.abc import Mapping
from typing import Literal

import msgspec

from headgate.gateway import ir
from headgate.gateway.plan.certificates import RefProblem, authorities, referred
from headgate.gateway.plan.classes import Dataplane, dataplane_of, gateways_of, settings
from headgate.gateway.settings import GatewaySettings
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import AllowedRoutes, Gateway, ListenerSet, Namespace, RouteNamespaces
from headgate.model.objects import Listener as ListenerSpec
from headgate.model.store import Store

SCHEMES: dict[str, ir.Scheme] = {"HTTP": "http", "HTTPS": "https"}

Reason = Literal[
    "Accepted",
    "UnsupportedProtocol",
    "PortUnavailable",
    "HostnameConflict",
    "ProtocolConflict",
    "InvalidCertificateRef",
    "RefNotPermitted",
    "InvalidCACertificateRef",
    "InvalidKind",
]
"""Of a listener: accepted, or why not."""

UNRESOLVED = ("InvalidCertificateRef", "RefNotPermitted", "InvalidCACertificateRef", "InvalidKind")
"""Reasons of listeners that lack nothing but what they refer to."""


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
    certificates: tuple[str, ...] = ()
    """`namespace/name` of the Secrets whose certificates it shows."""
    clients: "Clients | None" = None
    """What clients must show; None: nothing."""
    refs: tuple[tuple[str, str, str], ...] = ()
    """References that lead nowhere, although the listener is served: field, reason, message."""

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


class Clients(msgspec.Struct, frozen=True):
    """Certificates of clients."""

    authorities: str
    """CA certificates (PEM) that must have signed them."""
    required: bool
    """False: who has none, or another one, is served too."""


class Table(msgspec.Struct, frozen=True):
    """Hosts and their routes, for the requests of one port; of TLS ports, of one server name."""

    dataplane: Dataplane
    name: str
    port: int
    """Where it is bound."""
    scheme: ir.Scheme
    public_port: int
    """As clients see it."""
    hostnames: tuple[str, ...]
    """Of its listeners, ordered."""
    certificates: tuple[str, ...] = ()
    """`namespace/name` of the Secrets with what is shown to clients."""
    clients: Clients | None = None
    misdirected: tuple[str, ...] = ()
    """Host names of the other listeners of its TLS port: a request for one of them has come by the wrong
    connection."""


def bound_port(declared: int, settings: GatewaySettings) -> int:
    """Where a declared port is bound. No other listener has a say in it, so that none can move another."""
    usual = {80: settings.port, 443: settings.https_port} if not settings.per_gateway else {}
    return settings.port_map.get(declared, usual.get(declared, declared))


def written_listeners(world: Store, gateway: Identity) -> tuple[Listener, ...]:
    """Those of a Gateway of ours, in order, each judged by itself."""
    found = world.any_object(gateway)
    assert isinstance(found, Gateway)
    own = [
        _judged(world, found, _listener(world, gateway, gateway, index, each), each)
        for index, each in enumerate(found.spec.listeners)
    ]
    brought = [
        _judged(world, found, _listener(world, gateway, each.identity, index, spec), spec)
        for each in attached_sets(world, gateway)
        for index, spec in enumerate(each.spec.listeners)
    ]
    return (*own, *brought)


def attached_sets(world: Store, gateway: Identity) -> tuple[ListenerSet, ...]:
    """The ListenerSets that a Gateway takes, the oldest first."""
    found = world.any_object(gateway)
    assert isinstance(found, Gateway)
    key = ("Gateway", gateway.namespace, gateway.name)
    sets = (world.any_object(each) for each in world.indexed("listener_set", key))
    taken = [
        each
        for each in sets
        if isinstance(each, ListenerSet)
        and takes(world, found.spec.allowed_listeners.namespaces, found.namespace, each.namespace)
    ]
    return tuple(sorted(taken, key=lambda each: each.age_key))


def gateway_of(found: ListenerSet) -> Identity:
    """The Gateway that a ListenerSet is for."""
    ref = found.spec.parent_ref
    return Identity("Gateway", ref.namespace or found.namespace, ref.name, GATEWAY_GROUP)


def takes(world: Store, allowed: RouteNamespaces, own: str, namespace: str) -> bool:
    """Whether what is written in *namespace* may attach to an object of namespace *own*."""
    match allowed.from_:
        case "All":
            return True
        case "Same":
            return namespace == own
        case "None":
            return False
        case "Selector":
            selector = allowed.selector
            return selector is not None and selector.selects(namespace_labels(world, namespace))


def namespace_labels(world: Store, namespace: str) -> Mapping[str, str]:
    """Labels of a namespace, the one that Kubernetes gives it among them."""
    found = world.object(Namespace, "", namespace)
    written = found.metadata.labels if found is not None else {}
    return {"kubernetes.io/metadata.name": namespace, **written}


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


def _judged(world: Store, gateway: Gateway, listener: Listener, spec: ListenerSpec) -> Listener:
    if listener.protocol == "HTTP":
        return listener
    if listener.protocol == "HTTPS":
        return _with_clients(world, gateway, _with_certificates(world, listener, spec))
    message = f"protocol {listener.protocol} is not supported: HTTP and HTTPS listeners are served"
    if listener.protocol.upper() in SCHEMES:
        message = f"protocol {listener.protocol} is unknown: write {listener.protocol.upper()}, in capitals"
    return msgspec.structs.replace(listener, reason="UnsupportedProtocol", message=message, field="protocol")


def _with_certificates(world: Store, listener: Listener, spec: ListenerSpec) -> Listener:
    refs = spec.tls.certificate_refs if spec.tls is not None else ()
    if not refs:
        message = "an HTTPS listener needs a certificate: write tls: {certificateRefs: [{name: SECRET}]}"
        return msgspec.structs.replace(listener, reason="InvalidCertificateRef", message=message, field="tls")
    certificates: list[str] = []
    problems: list[tuple[str, str, str]] = []
    for number, ref in enumerate(refs):
        found = referred(world, listener.owner, ref)
        if isinstance(found, RefProblem):
            problems.append((f"tls.certificateRefs[{number}]", found.reason, found.message))
        else:
            certificates.append(found)
    if not certificates:
        field, reason, message = problems[0]
        return msgspec.structs.replace(listener, reason=reason, message=message, field=field)
    return msgspec.structs.replace(listener, certificates=tuple(certificates), refs=tuple(problems))


def _with_clients(world: Store, gateway: Gateway, listener: Listener) -> Listener:
    """What the Gateway asks of clients on the listener's port."""
    frontend = gateway.spec.tls.frontend if gateway.spec.tls is not None else None
    if frontend is None or not listener.served:
        return listener
    of_port = [each.tls for each in frontend.per_port if each.port == listener.declared]
    validation = (of_port[0] if of_port else frontend.default).validation
    if validation is None:
        return listener
    found, problems = authorities(world, gateway.identity, validation.ca_certificate_refs)
    if not found:
        return msgspec.structs.replace(
            listener, reason=problems[0].reason, message=problems[0].message, field="tls"
        )
    clients = Clients(found, required=validation.mode == "AllowValidOnly")
    told = tuple(("tls", each.reason, each.message) for each in problems)
    return msgspec.structs.replace(listener, clients=clients, refs=listener.refs + told)


def dataplane_listeners(world: Store, dataplane: Dataplane) -> tuple[Listener, ...]:
    """All listeners of one Envoy, those of the oldest Gateway first, each judged beside the others.

    Of two that would take the same requests the first one is served.
    """
    found: list[Listener] = []
    taken: dict[int, dict[str, Listener]] = {}
    for gateway in world.get(gateways_of, dataplane):
        for each in world.get(written_listeners, gateway):
            judged = each
            here = taken.setdefault(each.port, {})
            if each.reason == "UnsupportedProtocol" and here and each.protocol != "UDP":
                judged = _beside(each, here)
            elif each.served:
                judged = _beside(each, here)
                if judged.served:
                    here[each.hostname] = each
            found.append(judged)
    return tuple(found)


def _beside(each: Listener, here: dict[str, Listener]) -> Listener:
    """*each* beside those that are served on its port, by host name."""
    other = next(iter(here.values()), None)
    if other is not None and other.protocol != each.protocol:
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
    found = world.get(dataplane_listeners, world.get(dataplane_of, gateway))
    return tuple(each for each in found if each.gateway == gateway)


def tables(world: Store, dataplane: Dataplane) -> tuple[Table, ...]:
    """The tables of one Envoy, ordered by name."""
    served = [each for each in world.get(dataplane_listeners, dataplane) if each.served]
    grouped: dict[str, list[Listener]] = {}
    for each in served:
        grouped.setdefault(each.table, []).append(each)
    told = settings(world)
    return tuple(
        Table(
            dataplane=dataplane,
            name=name,
            port=group[0].port,
            scheme=group[0].scheme,
            public_port=group[0].declared if told.per_gateway else group[0].port,
            hostnames=tuple(sorted({each.hostname for each in group})),
            certificates=group[0].certificates,
            clients=group[0].clients,
            misdirected=tuple(
                sorted(
                    each.hostname
                    for each in served
                    if each.port == group[0].port and each.scheme == "https" and each not in group
                )
            ),
        )
        for name, group in sorted(grouped.items())
    )


def table(world: Store, dataplane: Dataplane, name: str) -> Table:
    """One of them."""
    return next(each for each in world.get(tables, dataplane) if each.name == name)


def owners(world: Store, dataplane: Dataplane, name: str) -> dict[str, Listener]:
    """Host name → listener of a table."""
    return {
        each.hostname: each
        for each in world.get(dataplane_listeners, dataplane)
        if each.served and each.table == name
    }
