"""What is wrong, and what is hardly meant, object by object."""

from collections.abc import Callable, Iterator, Mapping

from headgate.gateway.plan import advice
from headgate.gateway.plan.attachment import SAID_ELSEWHERE, parents
from headgate.gateway.plan.classes import CONTROLLER, foreign_controller
from headgate.gateway.plan.listeners import listeners_of
from headgate.gateway.plan.routes import planned
from headgate.model import services, topology
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import (
    Gateway,
    HTTPRoute,
    InferenceModel,
    InferenceObjective,
    InferenceObjectiveX,
    InferencePool,
    InferencePoolX,
    ModelServer,
    Service,
)
from headgate.model.problems import Place, Problem
from headgate.model.store import BUCKETS, Store


def judged(world: Store) -> frozenset[Identity]:
    """Every object that something may be said of."""
    return frozenset().union(*(world.get(_judged_bucket, number) for number in range(BUCKETS)))


def _judged_bucket(world: Store, number: int) -> frozenset[Identity]:
    return frozenset(each for cls in _KINDS for each in world.bucket(cls, number))


def problems_of(world: Store, identity: Identity) -> tuple[Problem, ...]:
    """Errors and warnings of one object, ordered; places are without file and line (`Store.place`)."""
    found = world.any_object(identity)
    if found is None:
        return ()
    return tuple(sorted(each for part in _KINDS[type(found)] for each in part(world, found)))


def _of_gateway(world: Store, gateway: Gateway) -> Iterator[Problem]:
    theirs = world.get(foreign_controller, gateway.identity)
    if theirs is not None:
        message = (
            f"GatewayClass {gateway.spec.gateway_class_name} belongs to {theirs}, so this Gateway is not "
            f"served; ours is {CONTROLLER}"
        )
        yield _problem(gateway, "spec.gatewayClassName", "NotOurs", message, warning=True)
        return
    for each in world.get(listeners_of, gateway.identity):
        if not each.served and each.owner == gateway.identity:
            field = f"{each.where}.{each.field}" if each.field else each.where
            yield _problem(gateway, field, each.reason, each.message)


def _of_route(world: Store, route: HTTPRoute) -> Iterator[Problem]:
    if not route.spec.parent_refs:
        yield _problem(
            route, "spec", "NoParent", "the route has no parentRefs, so no Gateway serves it", True
        )
    for parent in world.get(parents, route.identity):
        if parent.reason not in ("Accepted", SAID_ELSEWHERE):
            yield _problem(route, f"spec.parentRefs[{parent.index}]", parent.reason, parent.message)
    if any(parent.attached for parent in world.get(parents, route.identity)):
        yield from world.get(planned, route.identity).problems


def _of_pool(world: Store, pool: InferencePool) -> Iterator[Problem]:
    yield from world.get(topology.pool_problems, pool.identity)


def _of_server(world: Store, server: ModelServer) -> Iterator[Problem]:
    yield from world.get(topology.server_problems, server.namespace, server.name)


def _of_member(world: Store, member: InferenceModel | InferenceObjective) -> Iterator[Problem]:
    yield from world.get(topology.member_problems, member.identity)


def _of_service(world: Store, service: Service) -> Iterator[Problem]:
    yield from world.get(services.service_problems, service.namespace, service.name)


def _problem(each: KubeObject, field: str, reason: str, message: str, warning: bool = False) -> Problem:
    where = Place(object=str(each.identity), field=field)
    return Problem(where, reason, message, "warning" if warning else "error")


_KINDS: Mapping[type[KubeObject], tuple[Callable[..., Iterator[Problem]], ...]] = {
    Gateway: (_of_gateway, advice.of_gateway),
    HTTPRoute: (_of_route, advice.of_route),
    InferencePool: (_of_pool, advice.of_pool),
    InferencePoolX: (_of_pool, advice.of_pool),
    ModelServer: (_of_server, advice.of_server),
    InferenceModel: (_of_member,),
    InferenceObjective: (_of_member,),
    InferenceObjectiveX: (_of_member,),
    Service: (_of_service,),
}
"""Kind → what is looked at."""
