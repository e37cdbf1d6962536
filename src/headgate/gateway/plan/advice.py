"""What is right by itself and yet hardly meant: parts that nothing leads to, pools of one rule that disagree.

Warnings are told wherever problems are. Notes are for whoever checks manifests: they are no reason to change
anything, and a running gateway does not repeat them.
"""

from collections.abc import Iterator, Mapping, Sequence

from headgate.gateway import ir
from headgate.gateway.plan import backend_refs, imports
from headgate.gateway.plan.attachment import Route, attachments
from headgate.gateway.plan.classes import foreign_controller
from headgate.gateway.plan.listeners import listeners_of
from headgate.gateway.plan.routes import Rule
from headgate.model import absent, pickers, topology
from headgate.model.ids import pool_key
from headgate.model.labels import label_text
from headgate.model.meta import LLM_D_GROUP, Identity, KubeObject, has_labels
from headgate.model.objects import (
    BackendRef,
    Gateway,
    GatewayClass,
    HTTPRoute,
    InferenceObjectiveX,
    InferencePool,
    InferencePoolImport,
    InferencePoolX,
    ModelServer,
    RouteRule,
)
from headgate.model.problems import Place, Problem, Severity
from headgate.model.store import Store

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


def of_gateway(world: Store, gateway: Gateway) -> Iterator[Problem]:
    """Nothing leads there, or its class is probably another implementation's."""
    if world.get(foreign_controller, gateway.identity) is not None:
        return
    served = any(each.served for each in world.get(listeners_of, gateway.identity))
    if served and not absent.any_broken(world, "HTTPRoute") and not world.get(has_routes, gateway.identity):
        message = (
            "no HTTPRoute is attached to this Gateway, so every request is answered with 404; "
            f"name it in a route: parentRefs: [{{name: {gateway.name}}}]"
        )
        yield _told(gateway, "", "NoRoutes", message)
    name = gateway.spec.gateway_class_name
    if _of_others(name) and world.object(GatewayClass, "", name) is None:
        message = (
            f"class {name} is another implementation's, but no file defines it, so Headgate serves this "
            f"Gateway; write gatewayClassName: {OWN_CLASS}, or add the GatewayClass to leave it to them"
        )
        yield _told(gateway, "spec.gatewayClassName", "ClassOfOthers", message)


def has_routes(world: Store, gateway: Identity) -> bool:
    """Whether some route is attached to a Gateway."""
    key = (gateway.kind, gateway.namespace, gateway.name)
    owners = (gateway, *world.indexed("listener_set", key))
    return any(
        each.listener.gateway == gateway
        for owner in owners
        for route in world.indexed("parent", (owner.kind, owner.namespace, owner.name))
        for each in world.get(attachments, route)
    )


def of_pool(world: Store, pool: InferencePool) -> Iterator[Problem]:
    """No route leads to it."""
    if absent.any_broken(world, "HTTPRoute") or world.get(topology.superseded, pool.identity):
        return
    if not world.get(_may_lead):
        return
    kinds = ("InferencePool", "InferencePoolImport")
    led_to = any(world.indexed("backend", (kind, pool.namespace, pool.name)) for kind in kinds)
    if not led_to and not world.indexed("fallback", ("InferencePool", pool.namespace, pool.name)):
        message = (
            "no HTTPRoute leads to this pool, so it gets no requests; name it in a backendRef: "
            f"group: {pool.GROUP}, kind: InferencePool, name: {pool.name}"
        )
        yield _told(pool, "", "NotReferenced", message)


def of_import(world: Store, found: InferencePoolImport) -> Iterator[Problem]:
    """Routes lead to it, and most of what it stands for is out of reach."""
    if not world.indexed("backend", (found.KIND, found.namespace, found.name)):
        return
    message = imports.rest(found)
    if message and imports.local_pool(world, found) is not None:
        yield _told(found, "", "OtherClusters", message)


def _may_lead(world: Store) -> bool:
    """Whether there is anything that could lead to pools."""
    return bool(world.kind(HTTPRoute) or world.kind(Gateway))


def of_server(world: Store, server: ModelServer) -> Iterator[Problem]:
    """No pool selects it and no route names it."""
    if absent.any_broken(world, "InferencePool"):
        return
    key = ("ModelServer", server.namespace, server.name)
    if world.indexed("backend", key) or world.indexed("fallback", key):
        return
    labels = server.metadata.labels
    if world.get(_is_selected, server.identity):
        return
    here = world.get(_selectors, server.namespace)
    wanted = "; ".join(f"{name} selects {label_text(selector)}" for name, selector in here[:3])
    elsewhere = sorted({each.namespace for each in _pools(world)})
    where = f"pools are in namespace {elsewhere[0]}" if elsewhere else "there is no InferencePool"
    message = (
        f"no InferencePool of namespace {server.namespace} selects this server, whose labels are "
        f"{label_text(labels)}, so it gets no requests ({wanted or where})"
    )
    yield _told(server, "metadata.labels", "NotSelected", message)


def _is_selected(world: Store, server: Identity) -> bool:
    """Whether some pool selects a server; asked of those that name one of its labels."""
    found = world.any_object(server)
    assert isinstance(found, ModelServer)
    labels = found.metadata.labels
    pairs = [(server.namespace, *pair) for pair in labels.items()]
    pools = {
        each for pair in (*pairs, (server.namespace, "", "")) for each in world.indexed("selector", pair)
    }
    selectors = (world.any_object(each) for each in pools)
    return any(
        isinstance(each, InferencePool) and has_labels(labels, each.spec.selector.match_labels)
        for each in selectors
    )


def _selectors(world: Store, namespace: str) -> tuple[tuple[str, Mapping[str, str]], ...]:
    """Names and selectors of the pools there."""
    found = (
        world.any_object(each)
        for cls in (InferencePool, InferencePoolX)
        for each in world.kind(cls, namespace)
    )
    return tuple(
        (each.name, each.spec.selector.match_labels) for each in found if isinstance(each, InferencePool)
    )


def _pools(world: Store) -> tuple[Identity, ...]:
    return (*world.kind(InferencePool), *world.kind(InferencePoolX))


def of_route(world: Store, route: Route) -> Iterator[Problem]:
    """Rules without backends, patterns that are none, backends without endpoints, pools that disagree."""
    if not world.get(attachments, route.identity):
        return
    rules: Sequence[Rule] = route.spec.rules
    for index, rule in enumerate(rules):
        yield from _of_rule(world, route, rule, f"spec.rules[{index}]")


def _of_rule(world: Store, route: Route, rule: Rule, where: str) -> Iterator[Problem]:
    if not rule.backend_refs and not any(each.type == "RequestRedirect" for each in rule.filters):
        message = "the rule has no backendRefs, so its requests are answered with 500"
        yield _told(route, f"{where}.backendRefs", "NoBackend", message)
    for index, match in enumerate(rule.matches if isinstance(rule, RouteRule) else ()):
        if match.path.type != "RegularExpression" and "*" in match.path.value:
            message = (
                f"{match.path.value!r} matches a literal '*'; type PathPrefix takes everything below "
                f"{match.path.value.partition('*')[0].rstrip('/') or '/'}"
            )
            yield _told(route, f"{where}.matches[{index}].path.value", "LiteralStar", message)
    for number, ref in enumerate(rule.backend_refs):
        if ref.kind != "InferencePool" and world.get(_is_empty, route.identity, ref):
            message = f"{ref.kind} {ref.name} has no ready endpoint; its requests are answered with 503"
            yield _told(route, f"{where}.backendRefs[{number}]", "NoEndpoints", message)
    for index, each in enumerate(rule.filters):
        if each.cors is not None and each.cors.allow_credentials and "*" in each.cors.allow_origins:
            message = "with allowCredentials, '*' hands the sessions of users to any page: name the origins"
            yield _told(route, f"{where}.filters[{index}].cors.allowOrigins", "AnyOrigin", message)
    yield from _of_pools(world, route, rule, where)


def _is_empty(world: Store, route: Identity, ref: BackendRef) -> bool:
    """Whether a backend is there and has no endpoint."""
    backend = backend_refs.resolve(world, route, ref)
    if not isinstance(backend, ir.HostsBackend):
        return False
    return not backend_refs.endpoints(world, backend.cluster)


def _of_pools(world: Store, route: Route, rule: Rule, where: str) -> Iterator[Problem]:
    keys = [
        pool_key(ref.namespace or route.namespace, ref.name)
        for ref in rule.backend_refs
        if ref.kind == "InferencePool" and ref.weight > 0
    ]
    found = (world.get(topology.pool_settings, key) for key in dict.fromkeys(keys))
    shared = [pool for pool in found if pool is not None]
    for pool in shared:
        others = {each.model_name for other in shared if other is not pool for each in other.models}
        missing = sorted(others - {each.model_name for each in pool.models})
        if pool.models and missing:
            message = (
                f"pools of this rule know different model names: {', '.join(missing[:3])} "
                f"{'is' if len(missing) == 1 else 'are'} unknown in {pool.key}, which answers its share of "
                f"such requests with 404; give it InferenceModels of these names"
            )
            yield _told(route, f"{where}.backendRefs", "ModelsDiffer", message)
        elif pool.models and any(not other.models for other in shared):
            free = next(other for other in shared if not other.models)
            names = ", ".join(each.model_name for each in pool.models[:3])
            message = (
                f"pools of this rule know different model names: {free.key} takes every name, {pool.key} "
                f"only {names}, and answers its share of other requests with 404"
            )
            yield _told(route, f"{where}.backendRefs", "ModelsDiffer", message)


def notes_of(world: Store, identity: Identity) -> tuple[Problem, ...]:
    """What is as it should be on a plain machine, and may surprise."""
    found = world.any_object(identity)
    match found:
        case InferencePool():
            return tuple(pickers.picker_notes(world, found.identity))
        case Gateway():
            name = found.spec.gateway_class_name
            if name != OWN_CLASS and not _of_others(name) and world.object(GatewayClass, "", name) is None:
                message = f"no file defines GatewayClass {name}, so this Gateway is taken for Headgate's own"
                return (_told(found, "spec.gatewayClassName", "ClassAssumed", message, "note"),)
        case InferenceObjectiveX():
            message = (
                f"this is the former group of InferenceObjective; write apiVersion: {LLM_D_GROUP}/v1alpha2"
            )
            return (_told(found, "apiVersion", "FormerGroup", message, "note"),)
        case _:
            pass
    return ()


def _of_others(name: str) -> bool:
    return name in OTHERS_CLASSES or name.startswith("gke-")


def _told(each: KubeObject, field: str, reason: str, message: str, severity: Severity = "warning") -> Problem:
    return Problem(Place(object=str(each.identity), field=field), reason, message, severity)
