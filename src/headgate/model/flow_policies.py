"""FlowPolicies: which one counts for a pool, and what is wrong with them."""

from collections.abc import Iterator

from headgate.model import absent
from headgate.model.flow_rules import Caller, FlowRules
from headgate.model.ids import PoolKey
from headgate.model.meta import Identity
from headgate.model.objects import FlowPolicy, InferencePool, InferencePoolX
from headgate.model.problems import Place, Problem
from headgate.model.store import Store


def rules_of(world: Store, key: PoolKey) -> FlowRules | None:
    """What holds for a pool; None: no policy says anything."""
    found = world.get(chosen, key)
    policy = None if found is None else world.any_object(found)
    if not isinstance(policy, FlowPolicy):
        return None
    spec = policy.spec
    return FlowRules(
        object=f"{policy.namespace}/{policy.name}",
        trusted=None if spec.trust_headers is None else frozenset(spec.trust_headers),
        detector=spec.detector,
        callers={each.name: Caller(each.fairness_id or each.name, each.priority) for each in spec.clients},
        shares={each.id: each for each in spec.flows},
        other_shares=spec.default_flow,
        bands={each.priority: each for each in spec.bands},
        other_bands=spec.default_band,
    )


def chosen(world: Store, key: PoolKey) -> Identity | None:
    """The oldest policy for a pool."""
    namespace, _, name = key.partition("/")
    found = []
    for identity in world.indexed("policy", (FlowPolicy.KIND, InferencePool.KIND, namespace, name)):
        policy = world.any_object(identity)
        assert isinstance(policy, FlowPolicy)
        found.append((policy.age_key, identity))
    return min(found)[1] if found else None


def problems_of(world: Store, policy: FlowPolicy) -> Iterator[Problem]:
    """Pools that a policy does not count for."""
    for index, ref in enumerate(policy.spec.target_refs):
        field = f"spec.targetRefs[{index}]"
        first = world.get(chosen, PoolKey(f"{policy.namespace}/{ref.name}"))
        there = any(world.object(cls, policy.namespace, ref.name) for cls in (InferencePool, InferencePoolX))
        if not there:
            message = absent.sentence(world, ref.kind, policy.namespace, ref.name)
            yield _problem(policy, field, "TargetNotFound", message)
        elif first is not None and first != policy.identity:
            message = f"FlowPolicy {first.name} counts for this pool, and one policy does"
            yield _problem(policy, field, "Conflicted", message)


def _problem(policy: FlowPolicy, field: str, reason: str, message: str) -> Problem:
    return Problem(Place(object=str(policy.identity), field=field), reason, message)
