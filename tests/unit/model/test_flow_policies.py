"""FlowPolicies: which one counts for a pool, what it says, what is wrong with it."""

from typing import Any

from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.manifests.decode import decode
from headgate.model import flow_policies, topology
from headgate.model.flow_rules import Caller
from headgate.model.ids import PoolKey
from headgate.model.meta import HEADGATE_GROUP, Identity
from headgate.model.objects import FlowPolicy
from headgate.model.store import Store

KEY = PoolKey("default/chat")


def policy(name: str, created: str = "2026-01-01T00:00:00Z", pool: str = "chat", **spec: Any) -> Manifest:
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "FlowPolicy",
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"targetRefs": [{"name": pool}], **spec},
    }


def told(store: Store, name: str) -> list[tuple[str | None, str]]:
    found = store.any_object(Identity("FlowPolicy", "default", name, HEADGATE_GROUP))
    assert isinstance(found, FlowPolicy)
    return [(each.place.field, each.reason) for each in flow_policies.problems_of(store, found)]


def test_a_pool_has_the_rules_of_its_policy() -> None:
    store = world(
        manifest.snapshot(
            manifest.pool("chat"),
            manifest.pool("other"),
            policy(
                "fair",
                trustHeaders=["objective"],
                clients=[{"name": "alice", "priority": 3}, {"name": "bob", "fairnessId": "team"}],
                flows=[{"id": "team", "weight": 2, "quota": {"tokensPerMinute": 600}}],
                bands=[{"priority": -10, "ttl": "5s", "ordering": "EarliestDeadline"}],
            ),
        )
    )
    pool = store.get(topology.pool_settings, KEY)
    assert pool is not None
    rules = pool.flow
    assert rules is not None
    assert rules.object == "default/fair"
    assert rules.trusted == frozenset({"objective"})
    assert rules.callers == {"alice": Caller("alice", 3), "bob": Caller("team", None)}
    assert rules.shares["team"].weight == 2
    assert rules.bands[-10].ttl == "5s"
    other = store.get(topology.pool_settings, PoolKey("default/other"))
    assert other is not None
    assert other.flow is None
    assert told(store, "fair") == []


def test_the_oldest_policy_counts_and_the_others_are_told() -> None:
    store = world(
        manifest.snapshot(
            manifest.pool("chat"),
            policy("young", "2026-02-01T00:00:00Z"),
            policy("old"),
            policy("astray", pool="missing"),
        )
    )
    rules = store.get(flow_policies.rules_of, KEY)
    assert rules is not None
    assert rules.object == "default/old"
    assert told(store, "young") == [("spec.targetRefs[0]", "Conflicted")]
    assert told(store, "astray") == [("spec.targetRefs[0]", "TargetNotFound")]


def test_what_is_named_twice_or_out_of_bounds_is_refused() -> None:
    def reasons(**spec: Any) -> list[tuple[str | None, str]]:
        found = decode(policy("p", **spec), "", lambda _: 0).problems
        return [(each.place.field, each.message) for each in found]

    [(field, message)] = reasons(flows=[{"id": "a"}, {"id": "a"}])
    assert (field, message) == ("spec.flows[1].id", "a is named twice; remove one")
    [(field, _)] = reasons(bands=[{"priority": 1}, {"priority": 1}])
    assert field == "spec.bands[1].priority"
    [(field, _)] = reasons(flows=[{"id": "a", "weight": 0}])
    assert field == "spec.flows[0].weight"
    [(field, _)] = reasons(flows=[{"id": "a", "quota": {"tokensPerMinute": -1}}])
    assert field == "spec.flows[0].quota.tokensPerMinute"
