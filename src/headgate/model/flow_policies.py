"""FlowPolicies: which one counts for what, and what is wrong with them."""

from collections.abc import Iterator, Mapping

import msgspec

from headgate.model import absent
from headgate.model.durations import seconds
from headgate.model.flow_rules import Caller, FlowRules
from headgate.model.ids import PoolKey
from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import (
    FlowPolicy,
    Gateway,
    GRPCRoute,
    HTTPRoute,
    InferencePool,
    InferencePoolX,
    ListenerSet,
)
from headgate.model.objects.flow import DetectorSpec, FlowTarget
from headgate.model.policies import oldest
from headgate.model.problems import Place, Problem
from headgate.model.store import Store

_TARGETS: Mapping[str, tuple[type[KubeObject], ...]] = {
    cls.KIND: (cls,) for cls in (HTTPRoute, GRPCRoute, Gateway, ListenerSet)
} | {InferencePool.KIND: (InferencePool, InferencePoolX)}


def rules_of(world: Store, key: PoolKey) -> FlowRules | None:
    """What holds for a pool; None: no policy says anything."""
    namespace, _, name = key.partition("/")
    found = world.get(chosen, InferencePool.KIND, namespace, name, None)
    return None if found is None else world.get(rules, found)


def of_routes(world: Store) -> Mapping[str, FlowRules]:
    """What all policies say that are for routes, listeners or Gateways, by `namespace/name`."""
    found: dict[str, FlowRules] = {}
    for identity in sorted(world.kind(FlowPolicy)):
        policy = world.any_object(identity)
        assert isinstance(policy, FlowPolicy)
        if not all(ref.is_pool for ref in policy.spec.target_refs):
            found[name_of(identity)] = world.get(rules, identity)
    return found


def name_of(policy: Identity) -> str:
    """As requests name it: `namespace/name`."""
    return f"{policy.namespace}/{policy.name}"


def rules(world: Store, identity: Identity) -> FlowRules:
    """What a policy says."""
    policy = world.any_object(identity)
    assert isinstance(policy, FlowPolicy)
    spec = policy.spec
    return FlowRules(
        object=name_of(identity),
        trusted=None if spec.trust_headers is None else frozenset(spec.trust_headers),
        sessions=None if spec.sessions is None else tuple([each.named() for each in spec.sessions]),
        fairness_id=spec.requests.fairness_id,
        priority=spec.requests.priority,
        detector=spec.detector,
        hold_empty_s=None if spec.hold_empty is None else seconds(spec.hold_empty),
        callers={each.name: Caller(each.fairness_id or each.name, each.priority) for each in spec.clients},
        shares={each.id: each for each in spec.flows},
        other_shares=spec.default_flow,
        bands={each.priority: each for each in spec.bands},
        other_bands=spec.default_band,
    )


def chosen(world: Store, kind: str, namespace: str, name: str, section: str | None) -> Identity | None:
    """The policy that counts for an object, or for one of its sections."""
    return oldest(world, FlowPolicy, kind, namespace, name, section)


def problems_of(world: Store, policy: FlowPolicy) -> Iterator[Problem]:
    """Targets that a policy does not count for."""
    for index, ref in enumerate(policy.spec.target_refs):
        field = f"spec.targetRefs[{index}]"
        found = (world.object(cls, policy.namespace, ref.name) for cls in _TARGETS[ref.kind])
        target = next((each for each in found if each is not None), None)
        first = world.get(chosen, ref.kind, policy.namespace, ref.name, ref.section_name)
        if target is None:
            message = absent.sentence(world, ref.kind, policy.namespace, ref.name)
            yield _problem(policy, field, "TargetNotFound", message)
        elif (lacking := _no_section(target, ref)) is not None:
            yield _problem(policy, f"{field}.sectionName", "TargetNotFound", lacking)
        elif first is not None and first != policy.identity:
            what = "pool" if ref.is_pool else "target"
            message = f"FlowPolicy {first.name} counts for this {what}, and one policy does"
            yield _problem(policy, field, "Conflicted", message)
    yield from _idle(policy)


def _idle(policy: FlowPolicy) -> Iterator[Problem]:
    """Fields that do nothing beside the others."""
    detector = policy.spec.detector
    for field, name, of in _OF_DETECTORS:
        if detector.type != of and getattr(detector, field) != getattr(DetectorSpec(), field):
            message = f"it counts for type {of}, and the type is {detector.type}"
            yield _without_effect(policy, f"spec.detector.{name}", message)
    for index, band in enumerate(policy.spec.bands):
        if band.evict and band.priority >= 0:
            message = "only requests of a priority below 0 are ended for others"
            yield _without_effect(policy, f"spec.bands[{index}].evict", message)


_OF_DETECTORS = (
    ("max_concurrency", "maxConcurrency", "Concurrency"),
    ("queue_depth", "queueDepth", "Utilization"),
    ("kv_cache", "kvCache", "Utilization"),
)


def _no_section(target: KubeObject, ref: FlowTarget) -> str | None:
    """That the target has no such listener or rule; None: it has, or none is named."""
    if ref.section_name is None:
        return None
    if isinstance(target, Gateway | ListenerSet):
        what, names = "listener", [each.name for each in target.spec.listeners]
    elif isinstance(target, HTTPRoute | GRPCRoute):
        what, names = "rule", [str(each.name) for each in target.spec.rules if each.name]
    else:
        return None
    if ref.section_name in names:
        return None
    there = f"it has {', '.join(names)}" if names else f"no {what} of it has a name"
    return f"{ref.kind} {ref.name} has no {what} {ref.section_name}; {there}"


def _without_effect(policy: FlowPolicy, field: str, message: str) -> Problem:
    found = _problem(policy, field, "NoEffect", f"{message}, so this has no effect")
    return msgspec.structs.replace(found, severity="warning")


def _problem(policy: FlowPolicy, field: str, reason: str, message: str) -> Problem:
    return Problem(Place(object=str(policy.identity), field=field), reason, message)
