"""The result of any object, by its kind."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.gateway.plan import access, backend_auth
from headgate.gateway.plan.results import backends, gateways, routes
from headgate.gateway.plan.results.conditions import Conditions, accepted
from headgate.model import flow_policies, topology
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    BackendTLSPolicy,
    FlowPolicy,
    Gateway,
    GatewayClass,
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
)
from headgate.model.store import BUCKETS, Store


class Result(msgspec.Struct, frozen=True):
    """Status of an object that has conditions alone."""

    conditions: Conditions


AnyResult = (
    gateways.ClassResult
    | gateways.GatewayResult
    | gateways.ListenerSetResult
    | routes.RouteResult
    | backends.PoolResult
    | backends.ImportResult
    | backends.PolicyResult
    | Result
)


def judged(world: Store) -> frozenset[Identity]:
    """Every object that has a result, or may have one."""
    return frozenset().union(*(world.get(judged_in, number) for number in range(BUCKETS)))


def judged_in(world: Store, number: int) -> frozenset[Identity]:
    """Those of one part of all objects."""
    return frozenset(each for cls in _KINDS for each in world.bucket(cls, number))


def result(world: Store, identity: Identity) -> AnyResult | None:
    """What became of an object; None: it is another controller's, or gone."""
    found = world.any_object(identity)
    return None if found is None else _KINDS[type(found)](world, found)


def _of_member(world: Store, found: KubeObject) -> Result:
    problems = world.get(topology.member_problems, found.identity)
    return Result((accepted(problems, found.metadata.generation),))


def _of_access(world: Store, found: AccessPolicy) -> Result:
    return Result((accepted(access.problems_of(world, found), found.metadata.generation),))


def _of_backend_auth(world: Store, found: BackendAuthPolicy) -> Result:
    return Result((accepted(backend_auth.problems_of(world, found), found.metadata.generation),))


def _of_flow(world: Store, found: FlowPolicy) -> Result:
    return Result((accepted(flow_policies.problems_of(world, found), found.metadata.generation),))


_KINDS: Mapping[type[KubeObject], Callable[[Store, Any], AnyResult | None]] = {
    GatewayClass: gateways.of_class,
    Gateway: gateways.of_gateway,
    ListenerSet: gateways.of_listener_set,
    HTTPRoute: routes.of_route,
    GRPCRoute: routes.of_route,
    InferencePool: backends.of_pool,
    InferencePoolX: backends.of_pool,
    InferencePoolImport: backends.of_import,
    BackendTLSPolicy: backends.of_backend_tls,
    AccessPolicy: _of_access,
    BackendAuthPolicy: _of_backend_auth,
    FlowPolicy: _of_flow,
    InferenceModel: _of_member,
    InferenceModelRewrite: _of_member,
    InferenceModelRewriteX: _of_member,
    InferenceObjective: _of_member,
    InferenceObjectiveX: _of_member,
}
"""Kind → what its result is."""
