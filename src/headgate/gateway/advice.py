"""What is right by itself and yet hardly meant: parts that nothing leads to, pools of one rule that disagree.

Warnings are told wherever problems are. Notes are for whoever checks manifests: they are no reason to change
anything, and a running gateway does not repeat them.
"""

from collections.abc import Iterator, Mapping, Sequence

from headgate.gateway.attach import Attached, Bound
from headgate.model.absent import Absent
from headgate.model.endpoints import Pool
from headgate.model.ids import PoolKey, pool_key
from headgate.model.labels import ByLabels, label_text
from headgate.model.meta import HEADGATE_GROUP, LLM_D_GROUP
from headgate.model.objects import (
    BackendRef,
    Gateway,
    GatewayClass,
    HTTPRoute,
    InferenceObjectiveX,
    InferencePool,
    ModelServer,
    RouteRule,
    of_type,
)
from headgate.model.problems import Problem
from headgate.model.services import Services
from headgate.model.snapshot import Snapshot
from headgate.model.topology import OWN_PICKER_SERVICE

OWN_CLASS = "headgate"
"""The name that says that a Gateway is ours where no file defines its class."""

OTHERS_CLASSES = frozenset(
    [
        "agentgateway",
        "airlock",
        "amazon-vpc-lattice",
        "apisix",
        "azure-alb-external",
        "cilium",
        "consul",
        "contour",
        "eg",
        "envoy-gateway",
        "gloo-gateway",
        "haproxy",
        "higress",
        "istio",
        "istio-remote",
        "istio-waypoint",
        "kgateway",
        "kong",
        "linkerd",
        "nginx",
        "openshift-default",
        "traefik",
    ]
)
"""Classes that other implementations install under these names; and those that begin with `gke-`."""


def warnings(
    snapshot: Snapshot, pools: Sequence[Pool], bounds: Sequence[Bound], attached: Sequence[Attached]
) -> Iterator[Problem]:
    """What should be looked at."""
    routes = of_type(snapshot.objects, HTTPRoute)
    absent = Absent(snapshot)
    if not absent.any_broken("HTTPRoute"):
        yield from _without_routes(bounds, attached)
        if routes or bounds:
            yield from _unused_pools(snapshot, routes)
    if not absent.any_broken("InferencePool"):
        yield from _unselected_servers(snapshot, routes)
    yield from _classes_of_others(snapshot)
    known = {pool.key: pool for pool in pools}
    for route in {each.route.identity: each.route for each in attached}.values():
        for index, rule in enumerate(route.spec.rules):
            yield from _rule(route, rule, f"spec.rules[{index}]", known)


def notes(snapshot: Snapshot) -> Iterator[Problem]:
    """What is as it should be on a plain machine, and may surprise."""
    services = Services(snapshot.objects, snapshot.own)
    for pool in of_type(snapshot.objects, InferencePool):
        ref = pool.spec.endpoint_picker_ref
        if ref is None or ref.name == OWN_PICKER_SERVICE or (ref.group, ref.kind) != ("", "Service"):
            continue
        service = services.get(pool.namespace, ref.name)
        if service is None and not services.names(pool.namespace):
            what = f"there is no Service {pool.namespace}/{ref.name} in the files"
        elif service is not None and ref.port is not None and not _answers(services, pool):
            what = f"no EndpointSlice in the files gives Service {pool.namespace}/{ref.name} an address"
        else:
            continue
        message = f"{what}, so Headgate's own picker serves the pool"
        yield Problem(pool.place(f"{pool.PICKER_FIELD}.name"), "OwnPicker", message, "note")
    classes = {each.name for each in of_type(snapshot.objects, GatewayClass)}
    for gateway in of_type(snapshot.objects, Gateway):
        name = gateway.spec.gateway_class_name
        if name not in classes and name != OWN_CLASS and not _of_others(name):
            message = f"no file defines GatewayClass {name}, so this Gateway is taken for Headgate's own"
            yield Problem(gateway.place("spec.gatewayClassName"), "ClassAssumed", message, "note")
    for each in of_type(snapshot.objects, InferenceObjectiveX):
        message = f"this is the former group of InferenceObjective; write apiVersion: {LLM_D_GROUP}/v1alpha2"
        yield Problem(each.place("apiVersion"), "FormerGroup", message, "note")


def _answers(services: Services, pool: InferencePool) -> bool:
    ref = pool.spec.endpoint_picker_ref
    assert ref is not None
    assert ref.port is not None
    service = services.get(pool.namespace, ref.name)
    port = services.port(service, ref.port.number) if service is not None else None
    return service is None or port is None or bool(services.addresses(service, port))


def _without_routes(bounds: Sequence[Bound], attached: Sequence[Attached]) -> Iterator[Problem]:
    used = {each.bound.gateway.identity for each in attached}
    for gateway in {bound.gateway.identity: bound.gateway for bound in bounds}.values():
        if gateway.identity not in used:
            message = (
                "no HTTPRoute is attached to this Gateway, so every request is answered with 404; "
                f"name it in a route: parentRefs: [{{name: {gateway.name}}}]"
            )
            yield Problem(gateway.place(), "NoRoutes", message, "warning")


def _unused_pools(snapshot: Snapshot, routes: Sequence[HTTPRoute]) -> Iterator[Problem]:
    used = {
        pool_key(ref.namespace or route.namespace, ref.name)
        for route, ref in _backends(routes)
        if ref.kind == "InferencePool"
    }
    for pool in of_type(snapshot.objects, InferencePool):
        if pool_key(pool.namespace, pool.name) not in used:
            message = (
                "no HTTPRoute leads to this pool, so it gets no requests; name it in a backendRef: "
                f"group: {pool.GROUP}, kind: InferencePool, name: {pool.name}"
            )
            yield Problem(pool.place(), "NotReferenced", message, "warning")


def _unselected_servers(snapshot: Snapshot, routes: Sequence[HTTPRoute]) -> Iterator[Problem]:
    named = {
        (ref.namespace or route.namespace, ref.name)
        for route, ref in _backends(routes)
        if (ref.group, ref.kind) == (HEADGATE_GROUP, "ModelServer")
    }
    pools: dict[str, list[InferencePool]] = {}
    for pool in of_type(snapshot.objects, InferencePool):
        pools.setdefault(pool.namespace, []).append(pool)
    servers = of_type(snapshot.objects, ModelServer)
    index = ByLabels(servers)
    selected = {
        (server.namespace, server.name)
        for namespace, its in pools.items()
        for pool in its
        for server in index.selected(namespace, pool.spec.selector.match_labels)
    }
    used = named | selected
    for server in servers:
        if (server.namespace, server.name) in used:
            continue
        here = pools.get(server.namespace, [])
        labels = server.metadata.labels
        wanted = "; ".join(
            f"{pool.name} selects {label_text(pool.spec.selector.match_labels)}" for pool in here[:3]
        )
        elsewhere = f"pools are in namespace {min(pools)}" if pools else "there is no InferencePool"
        hint = wanted or elsewhere
        message = (
            f"no InferencePool of namespace {server.namespace} selects this server, whose labels are "
            f"{label_text(labels)}, so it gets no requests ({hint})"
        )
        yield Problem(server.place("metadata.labels"), "NotSelected", message, "warning")


def _backends(routes: Sequence[HTTPRoute]) -> Iterator[tuple[HTTPRoute, BackendRef]]:
    for route in routes:
        for rule in route.spec.rules:
            for ref in rule.backend_refs:
                yield route, ref


def _of_others(name: str) -> bool:
    return name in OTHERS_CLASSES or name.startswith("gke-")


def _classes_of_others(snapshot: Snapshot) -> Iterator[Problem]:
    classes = {each.name for each in of_type(snapshot.objects, GatewayClass)}
    for gateway in of_type(snapshot.objects, Gateway):
        name = gateway.spec.gateway_class_name
        if name not in classes and _of_others(name):
            message = (
                f"class {name} is another implementation's, but no file defines it, so Headgate serves this "
                f"Gateway; write gatewayClassName: {OWN_CLASS}, or add the GatewayClass to leave it to them"
            )
            yield Problem(gateway.place("spec.gatewayClassName"), "ClassOfOthers", message, "warning")


def _rule(route: HTTPRoute, rule: RouteRule, where: str, pools: Mapping[PoolKey, Pool]) -> Iterator[Problem]:
    if not rule.backend_refs and not any(each.type == "RequestRedirect" for each in rule.filters):
        message = "the rule has no backendRefs, so its requests are answered with 500"
        yield Problem(route.place(f"{where}.backendRefs"), "NoBackend", message, "warning")
    for index, match in enumerate(rule.matches):
        if match.path.type != "RegularExpression" and "*" in match.path.value:
            message = (
                f"{match.path.value!r} matches a literal '*'; type PathPrefix takes everything below "
                f"{match.path.value.partition('*')[0].rstrip('/') or '/'}"
            )
            yield Problem(
                route.place(f"{where}.matches[{index}].path.value"), "LiteralStar", message, "warning"
            )
    keys = [
        pool_key(ref.namespace or route.namespace, ref.name)
        for ref in rule.backend_refs
        if ref.kind == "InferencePool" and ref.weight > 0
    ]
    shared = [pools[key] for key in dict.fromkeys(keys) if key in pools]
    for pool in shared:
        others = {each.model_name for other in shared if other is not pool for each in other.models}
        missing = sorted(others - {each.model_name for each in pool.models})
        if pool.models and missing:
            message = (
                f"pools of this rule know different model names: {', '.join(missing[:3])} "
                f"{'is' if len(missing) == 1 else 'are'} unknown in {pool.key}, which answers its share of "
                f"such requests with 404; give it InferenceModels of these names"
            )
            yield Problem(route.place(f"{where}.backendRefs"), "ModelsDiffer", message, "warning")
        elif pool.models and any(not other.models for other in shared):
            free = next(other for other in shared if not other.models)
            names = ", ".join(each.model_name for each in pool.models[:3])
            message = (
                f"pools of this rule know different model names: {free.key} takes every name, {pool.key} "
                f"only {names}, and answers its share of other requests with 404"
            )
            yield Problem(route.place(f"{where}.backendRefs"), "ModelsDiffer", message, "warning")
