"""Which route attaches to which listener, under which host names, and why not."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from headgate.gateway.plan.classes import foreign_controller
from headgate.gateway.plan.hostnames import intersection
from headgate.gateway.plan.listeners import UNRESOLVED, Listener, gateway_of, listeners_of, takes
from headgate.model import absent
from headgate.model.meta import GATEWAY_GROUP, Identity, KubeObject
from headgate.model.objects import Gateway, GRPCRoute, HTTPRoute, ListenerSet, ParentRef
from headgate.model.store import Store

Route = HTTPRoute | GRPCRoute
"""What attaches to listeners."""

OWNERS = ((GATEWAY_GROUP, "Gateway"), (GATEWAY_GROUP, "ListenerSet"))
"""(group, kind) of what has listeners."""

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
    """Of one that is accepted: what it is not served for all the same."""
    attached: tuple[Attached, ...] = ()
    waiting: tuple[tuple[Identity, str], ...] = ()
    """Owner and name of listeners that the route is on and that are not served for want of a certificate."""


CONFLICT = "HostnameConflict"
"""Reason of a parent where a route of the other kind has the hosts."""

GRPC_PARENT = "grpc_parent"


def by_grpc_parent(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """Keys of the index `GRPC_PARENT`, as those of `parent`, of GRPCRoutes alone: mostly there are none."""
    if isinstance(each, GRPCRoute):
        for ref in each.spec.parent_refs:
            yield ref.kind, ref.namespace or each.namespace, ref.name


def parents(world: Store, route: Identity) -> tuple[Parent, ...]:
    """One for each parentRef, in order."""
    return tuple(_alone(world, route, each) for each in wanted(world, route))


def wanted(world: Store, route: Identity) -> tuple[Parent, ...]:
    """The same, whatever routes of the other kind there are."""
    found = world.any_object(route)
    assert isinstance(found, Route)
    return tuple(_parent(world, found, index, ref) for index, ref in enumerate(found.spec.parent_refs))


def kept_off(world: Store, owner: Identity, name: str) -> Mapping[Identity, Identity]:
    """Routes that may not be on a listener, written in *owner*, each with the one that has its hosts.

    HTTPRoutes and GRPCRoutes share no host of a listener: of two the older one counts.
    """
    key = (owner.kind, owner.namespace, owner.name)
    if not world.indexed(GRPC_PARENT, key):
        return {}
    claims: list[tuple[tuple[str, str, str], Identity, frozenset[str]]] = []
    for route in dict.fromkeys(world.indexed("parent", key)):
        found = world.any_object(route)
        hosts = frozenset(
            host
            for parent in world.get(wanted, route)
            for each in parent.attached
            if (each.listener.owner, each.listener.name) == (owner, name)
            for host in each.hostnames
        )
        if found is not None and hosts:
            claims.append((found.age_key, route, hosts))
    off: dict[Identity, Identity] = {}
    kept: list[tuple[Identity, frozenset[str]]] = []
    for _, route, hosts in sorted(claims, key=lambda each: (each[0], each[1].kind)):
        others = (each for each, theirs in kept if each.kind != route.kind and _meet(hosts, theirs))
        other = next(others, None)
        if other is None:
            kept.append((route, hosts))
        else:
            off[route] = other
    return off


def _meet(some: frozenset[str], others: frozenset[str]) -> bool:
    return any(intersection(each, sorted(others)) for each in some)


def _alone(world: Store, route: Identity, parent: Parent) -> Parent:
    """Without listeners whose hosts a route of the other kind has."""
    kept: list[Attached] = []
    message = ""
    for each in parent.attached:
        owner, name = each.listener.owner, each.listener.name
        other = world.get(kept_off, owner, name).get(route)
        if other is None:
            kept.append(each)
            continue
        message = (
            f"{other.kind} {other.namespace}/{other.name} comes before it and has hosts of it on listener "
            f"{name!r}, which HTTPRoutes and GRPCRoutes cannot share: give it other hostnames"
        )
    if not message:
        return parent
    if kept:
        return replace(parent, message=message, attached=tuple(kept))
    return replace(parent, reason=CONFLICT, message=message, attached=())


def routes_of(world: Store, number: int) -> tuple[Identity, ...]:
    """All routes of one part (`Store.bucket`)."""
    return (*world.bucket(HTTPRoute, number), *world.bucket(GRPCRoute, number))


def attachments(world: Store, route: Identity) -> tuple[Attached, ...]:
    """Every listener that the route is on, each once."""
    found: dict[tuple[Identity, str], Attached] = {}
    for parent in world.get(parents, route):
        for each in parent.attached:
            found.setdefault((each.listener.owner, each.listener.name), each)
    return tuple(found.values())


def _parent(world: Store, route: Route, index: int, ref: ParentRef) -> Parent:
    if (ref.group, ref.kind) not in OWNERS:
        message = f"a parent must be a Gateway or a ListenerSet, not {ref.group}/{ref.kind}"
        return Parent(index, ref, None, "NoMatchingParent", message)
    owner = Identity(ref.kind, ref.namespace or route.namespace, ref.name, GATEWAY_GROUP)
    found = world.any_object(owner)
    if found is None:
        if absent.broken(world, ref.kind, owner.namespace, owner.name):
            return Parent(index, ref, None, SAID_ELSEWHERE)
        crossing = ": write namespace: NAMESPACE in the parentRef"
        message = absent.sentence(world, ref.kind, owner.namespace, owner.name, crossing)
        return Parent(index, ref, None, "NoMatchingParent", message)
    gateway = gateway_of(found) if isinstance(found, ListenerSet) else owner
    if world.any_object(gateway) is None or world.get(foreign_controller, gateway) is not None:
        return Parent(index, ref, None, SAID_ELSEWHERE)
    own = [each for each in world.get(listeners_of, gateway) if each.owner == owner]
    reason, message, attached = _attached(world, route, ref, owner, [each for each in own if each.served])
    unserved = [each for each in own if each.reason in UNRESOLVED]
    waiting = _attached(world, route, ref, owner, unserved)[2] if unserved else ()
    names = tuple((owner, each.listener.name) for each in waiting)
    return Parent(index, ref, gateway, reason, message, attached, names)


def _attached(
    world: Store, route: Route, ref: ParentRef, owner: Identity, served: Sequence[Listener]
) -> tuple[str, str, tuple[Attached, ...]]:
    if not served:
        return SAID_ELSEWHERE, "", ()
    meant = [
        each for each in served if ref.section_name in (None, each.name) and ref.port in (None, each.declared)
    ]
    if not meant:
        return "NoMatchingParent", _no_listener(world, ref, owner, served), ()
    allowed = [each for each in meant if _allowed(world, route, each)]
    if not allowed:
        message = (
            f"{owner.kind} {owner.namespace}/{owner.name} takes no {route.KIND}s from namespace "
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


def _no_listener(world: Store, ref: ParentRef, owner: Identity, served: Sequence[Listener]) -> str:
    """Why no served listener of *owner* is meant by *ref*, naming those that are."""
    name, port = ref.section_name, ref.port
    parts = (f"called {name!r}" if name else "", f"with port {port}" if port is not None else "")
    wanted = " ".join(part for part in parts if part)
    found = world.any_object(owner)
    assert isinstance(found, Gateway | ListenerSet)
    written = next((each for each in found.spec.listeners if each.name == name), None)
    if written is not None and port in (None, written.port):
        return f"listener {name!r} of {owner.kind} {owner.namespace}/{owner.name} is not served (see there)"
    names = ", ".join(f"{each.name!r} (port {each.declared})" for each in served)
    return f"{owner.kind} {owner.namespace}/{owner.name} has no listener {wanted}; it has {names}"


def _allowed(world: Store, route: Route, listener: Listener) -> bool:
    allowed = listener.allowed
    if allowed.kinds and not any(
        (each.group, each.kind) == (GATEWAY_GROUP, route.KIND) for each in allowed.kinds
    ):
        return False
    return takes(world, allowed.namespaces, listener.owner.namespace, route.namespace)
