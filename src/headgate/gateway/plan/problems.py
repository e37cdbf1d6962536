"""What is wrong, and what is hardly meant, object by object."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from headgate.gateway.plan import access, advice, backend_auth, backend_tls, base_models, fallbacks
from headgate.gateway.plan.attachment import CONFLICT, SAID_ELSEWHERE, parents
from headgate.gateway.plan.classes import NOBODY, foreign_controller, settings
from headgate.gateway.plan.listeners import attached_sets, gateway_of, listeners_of
from headgate.gateway.plan.routes import planned
from headgate.model import absent, flow_policies, services, topology
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    BackendTLSPolicy,
    ConfigMap,
    FlowPolicy,
    Gateway,
    GRPCRoute,
    HTTPRoute,
    InferenceModel,
    InferenceModelRewrite,
    InferenceModelRewriteX,
    InferenceObjective,
    InferenceObjectiveX,
    InferencePool,
    InferencePoolImport,
    InferencePoolX,
    ListenerSet,
    ModelServer,
    Service,
)
from headgate.model.problems import Place, Problem
from headgate.model.store import BUCKETS, Store


def judged(world: Store) -> frozenset[Identity]:
    """Every object that something may be said of."""
    return frozenset().union(*(world.get(judged_in, number) for number in range(BUCKETS)))


def judged_in(world: Store, number: int) -> frozenset[Identity]:
    """Those in one part of all objects."""
    return frozenset(chain.from_iterable(world.bucket(cls, number) for cls in _KINDS))


def problems_of(world: Store, identity: Identity) -> tuple[Problem, ...]:
    """Errors and warnings of one object, ordered; places are without file and line (`Store.place`)."""
    found = world.any_object(identity)
    if found is None:
        return ()
    return tuple(sorted(each for part in _KINDS[type(found)] for each in part(world, found)))


def _of_gateway(world: Store, gateway: Gateway) -> Iterator[Problem]:
    theirs = world.get(foreign_controller, gateway.identity)
    if theirs is not None:
        name = gateway.spec.gateway_class_name
        whose = f"GatewayClass {name} belongs to {theirs}"
        if theirs == NOBODY:
            whose = f"there is no GatewayClass {name}"
        message = f"{whose}, so this Gateway is not served; ours is {settings(world).controller}"
        yield _problem(gateway, "spec.gatewayClassName", "NotOurs", message, warning=True)
        return
    yield from _of_listeners(world, gateway, gateway.identity)


def _of_listener_set(world: Store, found: ListenerSet) -> Iterator[Problem]:
    gateway = gateway_of(found)
    written = world.any_object(gateway)
    if written is None:
        message = absent.sentence(world, "Gateway", gateway.namespace, gateway.name)
        yield _problem(found, "spec.parentRef", "NoMatchingParent", message)
    elif world.get(foreign_controller, gateway) is None:
        if found not in world.get(attached_sets, gateway):
            message = (
                f"Gateway {gateway.namespace}/{gateway.name} takes no ListenerSets from namespace "
                f"{found.namespace}; its allowedListeners.namespaces decides that, from: All takes all"
            )
            yield _problem(found, "spec.parentRef", "NotAllowed", message)
        yield from _of_listeners(world, found, gateway)


def _of_listeners(world: Store, owner: KubeObject, gateway: Identity) -> Iterator[Problem]:
    for each in world.get(listeners_of, gateway):
        if each.owner != owner.identity:
            continue
        if not each.served:
            field = f"{each.where}.{each.field}" if each.field else each.where
            yield _problem(owner, field, each.reason, each.message)
        for field, reason, message in each.refs:
            yield _problem(owner, f"{each.where}.{field}", reason, message)


def _of_route(world: Store, route: HTTPRoute | GRPCRoute) -> Iterator[Problem]:
    if not route.spec.parent_refs:
        yield _problem(
            route, "spec", "NoParent", "the route has no parentRefs, so no Gateway serves it", True
        )
    for parent in world.get(parents, route.identity):
        place = f"spec.parentRefs[{parent.index}]"
        if parent.reason == "Accepted" and parent.message:
            yield _problem(route, place, CONFLICT, parent.message)
        elif parent.reason not in ("Accepted", SAID_ELSEWHERE):
            yield _problem(route, place, parent.reason, parent.message)
    if any(parent.attached for parent in world.get(parents, route.identity)):
        yield from world.get(planned, route.identity).problems


def _of_backend_tls(world: Store, policy: BackendTLSPolicy) -> Iterator[Problem]:
    for index, ref in enumerate(policy.spec.target_refs):
        place = f"spec.targetRefs[{index}]"
        if (ref.group, ref.kind) != ("", "Service"):
            message = f"a BackendTLSPolicy is for Services, not for {ref.group}/{ref.kind}"
            yield _problem(policy, place, "InvalidKind", message)
        elif world.object(Service, policy.namespace, ref.name) is None:
            message = absent.sentence(world, "Service", policy.namespace, ref.name)
            yield _problem(policy, place, "TargetNotFound", f"{message}; it has no effect", warning=True)
    read = world.get(backend_tls.read, policy.identity)
    if isinstance(read, backend_tls.Wrong):
        message = f"{read.message}; requests to these backends are answered with 500"
        yield _problem(policy, read.field, read.reason, message)


def _of_pool(world: Store, pool: InferencePool) -> Iterator[Problem]:
    yield from world.get(topology.pool_problems, pool.identity)
    yield from fallbacks.problems_of(world, pool)


def _of_server(world: Store, server: ModelServer) -> Iterator[Problem]:
    yield from topology.server_problems(world, server.namespace, server.name)


def _of_member(world: Store, member: InferenceModel | InferenceObjective) -> Iterator[Problem]:
    yield from world.get(topology.member_problems, member.identity)


def _of_service(world: Store, service: Service) -> Iterator[Problem]:
    yield from world.get(services.service_problems, service.namespace, service.name)


def _problem(each: KubeObject, field: str, reason: str, message: str, warning: bool = False) -> Problem:
    where = Place(object=str(each.identity), field=field)
    return Problem(where, reason, message, "warning" if warning else "error")


_KINDS: Mapping[type[KubeObject], tuple[Callable[..., Iterator[Problem]], ...]] = {
    Gateway: (_of_gateway, advice.of_gateway),
    ListenerSet: (_of_listener_set,),
    HTTPRoute: (_of_route, advice.of_route),
    GRPCRoute: (_of_route, advice.of_route),
    InferencePool: (_of_pool, advice.of_pool),
    InferencePoolX: (_of_pool, advice.of_pool),
    InferencePoolImport: (advice.of_import,),
    ModelServer: (_of_server, advice.of_server),
    InferenceModel: (_of_member,),
    InferenceModelRewrite: (_of_member,),
    InferenceModelRewriteX: (_of_member,),
    InferenceObjective: (_of_member,),
    InferenceObjectiveX: (_of_member,),
    Service: (_of_service,),
    BackendTLSPolicy: (_of_backend_tls,),
    AccessPolicy: (access.problems_of,),
    BackendAuthPolicy: (backend_auth.problems_of,),
    FlowPolicy: (flow_policies.problems_of,),
    ConfigMap: (base_models.problems_of,),
}
"""Kind → what is looked at."""
