"""Which route attaches to which listener, under which host names, and why not."""

from collections.abc import Iterator, Mapping, Sequence

import msgspec

from headgate.gateway.settings import GatewaySettings
from headgate.model.absent import Absent
from headgate.model.meta import GATEWAY_GROUP
from headgate.model.objects import (
    Gateway,
    GatewayClass,
    HTTPRoute,
    Listener,
    Namespace,
    ParentRef,
    of_type,
)
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot

CONTROLLER = "headgate.dev/gateway-controller"


class Bound(msgspec.Struct, frozen=True):
    """A listener that is served."""

    gateway: Gateway
    listener: Listener
    port: int
    """Where it is bound, which may differ from the declared port."""

    @property
    def hostname(self) -> str:
        """The listener's host name; `*` when it takes every host."""
        return self.listener.hostname or "*"


class Attached(msgspec.Struct, frozen=True):
    """A route on a listener."""

    bound: Bound
    route: HTTPRoute
    hostnames: tuple[str, ...]
    """What both the listener and the route want, ordered; never empty; `*` is every host."""


def bind(snapshot: Snapshot, settings: GatewaySettings) -> tuple[tuple[Bound, ...], tuple[Problem, ...]]:
    """The listeners of our Gateways and the ports where they are bound."""
    problems: list[Problem] = []
    wanted: list[tuple[Gateway, Listener]] = []
    for gateway in sorted(_ours(snapshot, problems), key=lambda each: each.age_key):
        for index, listener in enumerate(gateway.spec.listeners):
            if listener.protocol == "HTTP":
                wanted.append((gateway, listener))
            else:
                message = _protocol(listener.protocol)
                place = gateway.place(f"spec.listeners[{index}].protocol")
                problems.append(Problem(place, "UnsupportedProtocol", message))
    ports = bound_ports({listener.port for _, listener in wanted}, settings)
    bounds = tuple(Bound(gateway, listener, ports[listener.port]) for gateway, listener in wanted)
    problems += _shared(bounds, ports)
    return bounds, tuple(problems)


def _protocol(given: str) -> str:
    if given.upper() == "HTTP":
        return f"protocol {given} is unknown: write HTTP, in capitals"
    return f"protocol {given} is not supported: only HTTP listeners are served"


def _shared(bounds: tuple[Bound, ...], ports: Mapping[int, int]) -> Iterator[Problem]:
    """Warnings for declared ports that end where another one already is."""
    for bound in bounds:
        sharing = [declared for declared, port in ports.items() if port == bound.port]
        if sharing[0] != bound.listener.port and len(sharing) > 1:
            index = bound.gateway.spec.listeners.index(bound.listener)
            message = (
                f"declared ports {sharing} are all bound at {bound.port} and share their routes; map one away"
            )
            place = bound.gateway.place(f"spec.listeners[{index}].port")
            yield Problem(place, "PortShared", message, "warning")


def bound_ports(declared: set[int], settings: GatewaySettings) -> dict[int, int]:
    """Declared port → bound port: the primary one (80, else the lowest) goes to `settings.port`."""
    if not declared:
        return {}
    primary = 80 if 80 in declared else min(declared)
    ports = {port: settings.port_map.get(port, port) for port in sorted(declared)}
    return ports | {primary: settings.port_map.get(primary, settings.port)}


def _ours(snapshot: Snapshot, problems: list[Problem]) -> Iterator[Gateway]:
    """Gateways of our class. A class that nobody wrote down is ours: a plain machine needs none."""
    classes = {each.name: each for each in of_type(snapshot.objects, GatewayClass)}
    for gateway in of_type(snapshot.objects, Gateway):
        its_class = classes.get(gateway.spec.gateway_class_name)
        if its_class is None or its_class.spec.controller_name == CONTROLLER:
            yield gateway
            continue
        message = (
            f"GatewayClass {its_class.name} belongs to {its_class.spec.controller_name}, "
            f"so this Gateway is not served; ours is {CONTROLLER}"
        )
        problems.append(Problem(gateway.place("spec.gatewayClassName"), "NotOurs", message, "warning"))


def attach(snapshot: Snapshot, bounds: Sequence[Bound]) -> tuple[tuple[Attached, ...], tuple[Problem, ...]]:
    """Every route on every listener it asks for and may have."""
    problems: list[Problem] = []
    found: list[Attached] = []
    listeners: dict[tuple[str, str], list[Bound]] = {}
    for bound in bounds:
        listeners.setdefault((bound.gateway.namespace, bound.gateway.name), []).append(bound)
    gateways = {(each.namespace, each.name): each for each in of_type(snapshot.objects, Gateway)}
    absent = Absent(snapshot)
    labels = {each.name: each.metadata.labels for each in of_type(snapshot.objects, Namespace)}
    for route in of_type(snapshot.objects, HTTPRoute):
        if not route.spec.parent_refs:
            message = "the route has no parentRefs, so no Gateway serves it"
            problems.append(Problem(route.place("spec"), "NoParent", message, "warning"))
        taken: set[tuple[str, str, str]] = set()
        for index, ref in enumerate(route.spec.parent_refs):
            result = _attach_to(route, ref, listeners, gateways, absent, labels)
            if isinstance(result, Problem):
                place = route.place(f"spec.parentRefs[{index}]")
                problems.append(msgspec.structs.replace(result, place=place))
                continue
            for each in result:
                key = (each.bound.gateway.namespace, each.bound.gateway.name, each.bound.listener.name)
                if key not in taken:
                    taken.add(key)
                    found.append(each)
    return tuple(found), tuple(problems)


def _attach_to(
    route: HTTPRoute,
    ref: ParentRef,
    listeners: Mapping[tuple[str, str], Sequence[Bound]],
    gateways: Mapping[tuple[str, str], Gateway],
    absent: Absent,
    labels: Mapping[str, Mapping[str, str]],
) -> list[Attached] | Problem:
    """The route on each listener that *ref* means; a Problem without a place if there is none."""
    if (ref.group, ref.kind) != (GATEWAY_GROUP, "Gateway"):
        return _no("NoMatchingParent", f"a parent must be a Gateway, not {ref.group}/{ref.kind}")
    key = (ref.namespace or route.namespace, ref.name)
    if key not in gateways:
        if absent.broken("Gateway", *key):
            return []  # said there
        crossing = ": write namespace: NAMESPACE in the parentRef"
        return _no("NoMatchingParent", absent.sentence("Gateway", *key, crossing))
    if key not in listeners:
        return []  # somebody else's Gateway, or one without a usable listener: said there
    meant = [
        bound
        for bound in listeners[key]
        if ref.section_name in (None, bound.listener.name) and ref.port in (None, bound.listener.port)
    ]
    if not meant:
        return _no("NoMatchingParent", _no_listener(ref, gateways[key], listeners[key]))
    allowed = [bound for bound in meant if _allowed(route, bound, labels)]
    if not allowed:
        message = (
            f"Gateway {key[0]}/{key[1]} takes no HTTPRoutes from namespace {route.namespace}; "
            "its listener's allowedRoutes.namespaces decides that, from: All takes all"
        )
        return _no("NotAllowedByListeners", message)
    found = [
        Attached(bound, route, names)
        for bound in allowed
        if (names := intersection(bound.hostname, route.spec.hostnames))
    ]
    if not found:
        hosts = ", ".join(bound.hostname for bound in allowed)
        return _no(
            "NoMatchingListenerHostname", f"none of the route's hostnames fits the listener's: {hosts}"
        )
    return found


def _no_listener(ref: ParentRef, gateway: Gateway, served: Sequence[Bound]) -> str:
    """Why no served listener of *gateway* is meant by *ref*, naming those that are."""
    name, port = ref.section_name, ref.port
    wanted = " ".join(
        part
        for part in (f"called {name!r}" if name else "", f"with port {port}" if port is not None else "")
        if part
    )
    written = next((each for each in gateway.spec.listeners if each.name == name), None)
    if written is not None and port in (None, written.port):
        return f"listener {name!r} of Gateway {gateway.namespace}/{gateway.name} is not served (see there)"
    names = ", ".join(f"{bound.listener.name!r} (port {bound.listener.port})" for bound in served)
    return f"Gateway {gateway.namespace}/{gateway.name} has no listener {wanted}; it has {names}"


def _no(reason: str, message: str) -> Problem:
    return Problem(Place(), reason, message)


def _allowed(route: HTTPRoute, bound: Bound, labels: Mapping[str, Mapping[str, str]]) -> bool:
    allowed = bound.listener.allowed_routes
    if allowed.kinds and not any(
        (each.group, each.kind) == (GATEWAY_GROUP, "HTTPRoute") for each in allowed.kinds
    ):
        return False
    match allowed.namespaces.from_:
        case "All":
            return True
        case "Same":
            return route.namespace == bound.gateway.namespace
        case "None":
            return False
        case "Selector":
            its = {"kubernetes.io/metadata.name": route.namespace, **labels.get(route.namespace, {})}
            return allowed.namespaces.selector is not None and allowed.namespaces.selector.selects(its)


def intersection(listener: str, route: Sequence[str]) -> tuple[str, ...]:
    """Host names that both take: of two that overlap, the narrower one. `*` takes every host."""
    if not route:
        return (listener,)
    found = {
        name if covers(listener, name) else listener
        for name in route
        if covers(listener, name) or covers(name, listener)
    }
    return tuple(sorted(found))


def covers(wide: str, narrow: str) -> bool:
    """True when every host that *narrow* takes is also taken by *wide*."""
    if wide == "*" or wide == narrow:
        return True
    return wide.startswith("*.") and narrow.endswith(wide[1:])
