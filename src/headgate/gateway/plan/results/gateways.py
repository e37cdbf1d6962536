"""Results of GatewayClasses, Gateways, ListenerSets and their listeners."""

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from headgate.gateway.plan.attachment import attachments, parents, routes_of
from headgate.gateway.plan.certificates import RefProblem, referred
from headgate.gateway.plan.classes import dataplane_of, foreign_controller, settings
from headgate.gateway.plan.features import FEATURES, PROVISIONED
from headgate.gateway.plan.hostnames import wider_names
from headgate.gateway.plan.listeners import (
    Listener,
    attached_sets,
    dataplane_listeners,
    gateway_of,
    listeners_of,
)
from headgate.gateway.plan.results.conditions import Condition, Conditions, condition, resolved
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import Gateway, GatewayClass, ListenerSet
from headgate.model.store import BUCKETS, Store


class Feature(msgspec.Struct, frozen=True):
    """A feature of the Gateway API that is served."""

    name: str


class ClassResult(msgspec.Struct, frozen=True, rename="camel"):
    """Status of a GatewayClass."""

    conditions: Conditions
    supported_features: tuple[Feature, ...]


class Kind(msgspec.Struct, frozen=True):
    """A kind of routes."""

    group: str
    kind: str


class ListenerResult(msgspec.Struct, frozen=True, rename="camel"):
    """Status of a listener."""

    name: str
    supported_kinds: tuple[Kind, ...]
    attached_routes: int
    conditions: Conditions


class GatewayResult(msgspec.Struct, frozen=True, rename="camel"):
    """Status of a Gateway, without its addresses."""

    conditions: Conditions
    listeners: tuple[ListenerResult, ...]
    attached_listener_sets: int = 0


class ListenerSetResult(msgspec.Struct, frozen=True, rename="camel"):
    """Status of a ListenerSet."""

    conditions: Conditions
    listeners: tuple[ListenerResult, ...] = ()


ROUTES = ("HTTPRoute", "GRPCRoute")
"""Kinds that attach to HTTP and HTTPS listeners."""


def of_class(world: Store, found: GatewayClass) -> ClassResult | None:
    """None where the class is another controller's."""
    if found.spec.controller_name != settings(world).controller:
        return None
    generation = found.metadata.generation
    conditions = (condition("Accepted", True, "Accepted", "", generation),)
    provisioned = world.entry("settings", "provision") is not None
    served = FEATURES | PROVISIONED if provisioned else FEATURES
    return ClassResult(conditions, tuple(Feature(each) for each in sorted(served)))


def of_gateway(world: Store, found: Gateway) -> GatewayResult | None:
    """None where the Gateway is another controller's."""
    if world.get(foreign_controller, found.identity) is not None:
        return None
    generation = found.metadata.generation
    own = [each for each in world.get(listeners_of, found.identity) if each.owner == found.identity]
    served = [each for each in own if each.served]
    others = {each.owner for each in world.get(listeners_of, found.identity) if each.served}
    return GatewayResult(
        (*_whole(served, own, generation), *_further(world, found)),
        tuple(_listener(world, each, generation) for each in own),
        len(others - {found.identity}),
    )


def of_listener_set(world: Store, found: ListenerSet) -> ListenerSetResult | None:
    """None where its Gateway is not ours."""
    gateway = gateway_of(found)
    if world.any_object(gateway) is None or world.get(foreign_controller, gateway) is not None:
        return None
    generation = found.metadata.generation
    if found not in world.get(attached_sets, gateway):
        message = f"Gateway {gateway.namespace}/{gateway.name} takes no ListenerSets from here"
        conditions = tuple(
            condition(type_, False, "NotAllowed", message, generation) for type_ in ("Accepted", "Programmed")
        )
        return ListenerSetResult(conditions)
    own = [each for each in world.get(listeners_of, gateway) if each.owner == found.identity]
    served = [each for each in own if each.served]
    return ListenerSetResult(
        _whole(served, own, generation, "ListenersNotValid"),
        tuple(_listener(world, each, generation) for each in own),
    )


def _whole(served: list[Listener], own: list[Listener], generation: int, none: str = "Invalid") -> Conditions:
    """Accepted and Programmed of an object with these listeners; *none*: why it is not programmed where none
    of them is served."""
    wrong = [each for each in own if not each.served]
    if not wrong:
        return (
            condition("Accepted", True, "Accepted", "", generation),
            condition("Programmed", True, "Programmed", "", generation),
        )
    names = ", ".join(each.name for each in wrong[:5])
    message = f"not served: {names}" + (f" and {len(wrong) - 5} more" if len(wrong) > 5 else "")
    some = bool(served)
    return (
        condition("Accepted", some, "ListenersNotValid", message, generation),
        condition("Programmed", some, "Programmed" if some else none, message, generation),
    )


def _further(world: Store, found: Gateway) -> Iterator[Condition]:
    """What a Gateway says of its TLS settings."""
    generation = found.metadata.generation
    tls = found.spec.tls
    if tls is None:
        return
    ref = tls.backend.client_certificate_ref if tls.backend is not None else None
    if ref is not None:
        secret = referred(world, found.identity, ref)
        wrong = []
        if isinstance(secret, RefProblem):
            reason = (
                "RefNotPermitted" if secret.reason == "RefNotPermitted" else "InvalidClientCertificateRef"
            )
            wrong.append((reason, secret.message))
        yield resolved(wrong, generation)
    if tls.frontend is not None:
        settings = (tls.frontend.default, *(each.tls for each in tls.frontend.per_port))
        modes = {each.validation.mode for each in settings if each.validation is not None}
        if "AllowInsecureFallback" in modes:
            message = "clients without a certificate that is valid here are let in"
            yield condition(
                "InsecureFrontendValidationMode", True, "ConfigurationChanged", message, generation
            )


def _listener(world: Store, found: Listener, generation: int) -> ListenerResult:
    kinds, wrong_kinds = _kinds(found)
    programmed = "Programmed" if found.served else found.reason if found.reason in _CONFLICTS else "Invalid"
    return ListenerResult(
        found.name,
        kinds,
        world.get(attached_routes, found.owner, found.name),
        (
            _listener_accepted(found, generation),
            condition("Programmed", found.served, programmed, found.message, generation),
            resolved(_wrong_refs(found, wrong_kinds), generation),
            _conflicted(found, generation),
            *_overlapping(world, found, generation),
        ),
    )


def _kinds(found: Listener) -> tuple[tuple[Kind, ...], bool]:
    """Kinds of routes that may attach, and whether others are asked for."""
    if found.protocol not in ("HTTP", "HTTPS"):
        return (), False
    wanted = [(each.group, each.kind) for each in found.allowed.kinds]
    known = [(GATEWAY_GROUP, kind) for kind in ROUTES]
    kinds = [each for each in wanted if each in known] if wanted else known
    return tuple(Kind(*each) for each in kinds), any(each not in known for each in wanted)


_CONFLICTS = ("HostnameConflict", "ProtocolConflict")
_CERTIFICATE = ("InvalidCertificateRef", "RefNotPermitted")
_AUTHORITIES: Mapping[str, str] = {
    "InvalidCACertificateRef": "InvalidCACertificateRef",
    "InvalidKind": "InvalidCACertificateKind",
}
"""Our reasons of references to CA certificates → the Gateway API's."""


def _of_clients(found: Listener) -> bool:
    """What is wrong concerns clients' certificates: there the listener had its own already."""
    return bool(found.certificates) and not found.served


def _listener_accepted(found: Listener, generation: int) -> Condition:
    if found.served or (found.reason in _CERTIFICATE and not _of_clients(found)):
        return condition("Accepted", True, "Accepted", "", generation)
    reason = found.reason
    if reason in _AUTHORITIES or reason in _CERTIFICATE:
        reason = "NoValidCACertificate"  # type: ignore[assignment]
    return condition("Accepted", False, reason, found.message, generation)


def _wrong_refs(found: Listener, wrong_kinds: bool) -> Iterator[tuple[str, str]]:
    if found.reason in _AUTHORITIES or found.reason in _CERTIFICATE:
        yield _AUTHORITIES.get(found.reason, found.reason), found.message
    for _, reason, message in found.refs:
        yield _AUTHORITIES.get(reason, reason), message
    if wrong_kinds:
        yield "InvalidRouteKinds", f"kinds that may attach are {' and '.join(ROUTES)}"


def _conflicted(found: Listener, generation: int) -> Condition:
    if found.reason in _CONFLICTS:
        return condition("Conflicted", True, found.reason, found.message, generation)
    return condition("Conflicted", False, "NoConflicts", "", generation)


def _overlapping(world: Store, found: Listener, generation: int) -> Iterator[Condition]:
    """That another TLS listener of the port takes some of the same hosts: clients may reuse connections."""
    if found.protocol != "HTTPS" or not found.served:
        return
    others = world.get(dataplane_listeners, world.get(dataplane_of, found.gateway))
    for each in others:
        if each.protocol != "HTTPS" or not each.served or each.port != found.port:
            continue
        if (each.owner, each.name) == (found.owner, found.name):
            continue
        if each.hostname in wider_names(found.hostname) or found.hostname in wider_names(each.hostname):
            message = f"listener {each.name} takes hosts of {found.hostname}, too"
            yield condition("OverlappingTLSConfig", True, "OverlappingHostnames", message, generation)
            return


def attached_routes(world: Store, owner: Identity, listener: str) -> int:
    """How many routes are on a listener of *owner*, whether or not it can be served."""
    return sum(world.get(_attached_of_bucket, number).get((owner, listener), 0) for number in range(BUCKETS))


def _attached_of_bucket(world: Store, number: int) -> Mapping[tuple[Identity, str], int]:
    return Counter(each for route in routes_of(world, number) for each in _listeners_with(world, route))


def _listeners_with(world: Store, route: Identity) -> frozenset[tuple[Identity, str]]:
    """Owner and name of each listener that a route is on."""
    found = {(each.listener.owner, each.listener.name) for each in world.get(attachments, route)}
    for parent in world.get(parents, route):
        found.update(parent.waiting)
    return frozenset(found)
