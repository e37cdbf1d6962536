"""Which route attaches to which listener, under which host names, and why not."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from headgate.gateway.plan.classes import foreign_controller
from headgate.gateway.plan.hostnames import intersection
from headgate.gateway.plan.listeners import Listener, listeners_of
from headgate.model import absent
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import Gateway, HTTPRoute, Namespace, ParentRef
from headgate.model.store import Store

ROUTE_KINDS: Mapping[str, type[HTTPRoute]] = {"HTTPRoute": HTTPRoute}

SAID_ELSEWHERE = "Pending"
"""Reason of a parent that is too wrong to be used, or not ours: there is nothing to say at the route."""


class Attached(msgspec.Struct, frozen=True):
    """A route on a listener."""

    listener: Listener
    hostnames: tuple[str, ...]
    """What both the listener and the route want, ordered; never empty; `*` is every host."""


class Parent(msgspec.Struct, frozen=True):
    """What became of one of a route's parentRefs."""

    index: int
    ref: ParentRef
    gateway: Identity | None
    """None where it is none of ours."""
    reason: str
    """`Accepted`, or why not; `SAID_ELSEWHERE`."""
    message: str = ""
    attached: tuple[Attached, ...] = ()


def parents(world: Store, route: Identity) -> tuple[Parent, ...]:
    """One for each parentRef, in order."""
    found: Any = world.any_object(route)
    refs: Sequence[ParentRef] = found.spec.parent_refs
    return tuple(_parent(world, found, index, ref) for index, ref in enumerate(refs))


def attachments(world: Store, route: Identity) -> tuple[Attached, ...]:
    """Every listener that the route is on, each once."""
    found: dict[tuple[Identity, str], Attached] = {}
    for parent in world.get(parents, route):
        for each in parent.attached:
            found.setdefault((each.listener.owner, each.listener.name), each)
    return tuple(found.values())


def _parent(world: Store, route: HTTPRoute, index: int, ref: ParentRef) -> Parent:
    if (ref.group, ref.kind) != (GATEWAY_GROUP, "Gateway"):
        message = f"a parent must be a Gateway, not {ref.group}/{ref.kind}"
        return Parent(index, ref, None, "NoMatchingParent", message)
    key = Identity("Gateway", ref.namespace or route.namespace, ref.name, GATEWAY_GROUP)
    if world.any_object(key) is None:
        if absent.broken(world, "Gateway", key.namespace, key.name):
            return Parent(index, ref, None, SAID_ELSEWHERE)
        crossing = ": write namespace: NAMESPACE in the parentRef"
        message = absent.sentence(world, "Gateway", key.namespace, key.name, crossing)
        return Parent(index, ref, None, "NoMatchingParent", message)
    if world.get(foreign_controller, key) is not None:
        return Parent(index, ref, None, SAID_ELSEWHERE)
    reason, message, attached = _attached(world, route, ref, key)
    return Parent(index, ref, key, reason, message, attached)


def _attached(
    world: Store, route: HTTPRoute, ref: ParentRef, gateway: Identity
) -> tuple[str, str, tuple[Attached, ...]]:
    served = [each for each in world.get(listeners_of, gateway) if each.served]
    if not served:
        return SAID_ELSEWHERE, "", ()
    meant = [
        each for each in served if ref.section_name in (None, each.name) and ref.port in (None, each.declared)
    ]
    if not meant:
        return "NoMatchingParent", _no_listener(world, ref, gateway, served), ()
    allowed = [each for each in meant if _allowed(world, route, each)]
    if not allowed:
        message = (
            f"Gateway {gateway.namespace}/{gateway.name} takes no {route.KIND}s from namespace "
            f"{route.namespace}; its listener's allowedRoutes.namespaces decides that, from: All takes all"
        )
        return "NotAllowedByListeners", message, ()
    found = tuple(
        Attached(each, names)
        for each in allowed
        if (names := intersection(each.hostname, route.spec.hostnames))
    )
    if not found:
        hosts = ", ".join(each.hostname for each in allowed)
        message = f"none of the route's hostnames fits the listener's: {hosts}"
        return "NoMatchingListenerHostname", message, ()
    return "Accepted", "", found


def _no_listener(world: Store, ref: ParentRef, gateway: Identity, served: Sequence[Listener]) -> str:
    """Why no served listener of *gateway* is meant by *ref*, naming those that are."""
    name, port = ref.section_name, ref.port
    parts = (f"called {name!r}" if name else "", f"with port {port}" if port is not None else "")
    wanted = " ".join(part for part in parts if part)
    found = world.any_object(gateway)
    assert isinstance(found, Gateway)
    written = next((each for each in found.spec.listeners if each.name == name), None)
    if written is not None and port in (None, written.port):
        return f"listener {name!r} of Gateway {gateway.namespace}/{gateway.name} is not served (see there)"
    names = ", ".join(f"{each.name!r} (port {each.declared})" for each in served)
    return f"Gateway {gateway.namespace}/{gateway.name} has no listener {wanted}; it has {names}"


def _allowed(world: Store, route: HTTPRoute, listener: Listener) -> bool:
    allowed = listener.allowed
    if allowed.kinds and not any(
        (each.group, each.kind) == (GATEWAY_GROUP, route.KIND) for each in allowed.kinds
    ):
        return False
    match allowed.namespaces.from_:
        case "All":
            return True
        case "Same":
            return route.namespace == listener.owner.namespace
        case "None":
            return False
        case "Selector":
            selector = allowed.namespaces.selector
            return selector is not None and selector.selects(namespace_labels(world, route.namespace))


def namespace_labels(world: Store, namespace: str) -> Mapping[str, str]:
    """Labels of a namespace, the one that Kubernetes gives it among them."""
    found = world.object(Namespace, "", namespace)
    written = found.metadata.labels if found is not None else {}
    return {"kubernetes.io/metadata.name": namespace, **written}
