"""InferenceModelRewrites: precedence, weights, both API groups."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.model import topology
from headgate.model.endpoints import Rewrite, TargetModel
from headgate.model.ids import PoolKey
from headgate.model.meta import INFERENCE_X_GROUP, LLM_D_GROUP, Identity

KEY = PoolKey("default/chat")


def rewrite(
    name: str, *rules: Manifest, created: str = "2026-01-01T00:00:00Z", group: str = LLM_D_GROUP
) -> Manifest:
    return {
        "apiVersion": f"{group}/v1alpha2",
        "kind": "InferenceModelRewrite",
        "metadata": {"name": name, "creationTimestamp": created},
        "spec": {"poolRef": {"name": "chat"}, "rules": list(rules)},
    }


def rule(*names: str, **targets: int | None) -> Manifest:
    found: list[Any] = [
        {"modelRewrite": name} if weight is None else {"modelRewrite": name, "weight": weight}
        for name, weight in targets.items()
    ]
    made: dict[str, Any] = {"targets": found}
    if names:
        made["matches"] = [{"model": {"type": "Exact", "value": name}} for name in names]
    return made


def rewrites(*objects: Manifest) -> tuple[Rewrite, ...]:
    found = world(manifest.snapshot(manifest.pool("chat"), *objects)).get(topology.pool_settings, KEY)
    assert found is not None
    return found.rewrites


@pytest.mark.parametrize("group", [LLM_D_GROUP, INFERENCE_X_GROUP])
def test_exact_names_come_before_the_rule_for_all_and_the_oldest_object_wins(group: str) -> None:
    young = rewrite("young", rule("a", b=None), rule("c", d=3, e=None), created="2026-02-01T00:00:00Z")
    old = rewrite("old", rule(z=None), rule("a", x=None, y=None), rule("a", w=None), group=group)
    assert rewrites(young, old) == (
        Rewrite("a", "default/old", (TargetModel("x", 1), TargetModel("y", 1))),
        Rewrite("c", "default/young", (TargetModel("d", 3), TargetModel("e", 0))),
        Rewrite(None, "default/old", (TargetModel("z", 1),)),
    )


def test_a_rewrite_of_a_missing_pool_is_told() -> None:
    store = world(manifest.snapshot(rewrite("astray", rule(z=None))))
    member = Identity("InferenceModelRewrite", "default", "astray", LLM_D_GROUP)
    assert [each.reason for each in store.get(topology.member_problems, member)] == ["PoolNotFound"]


def told(name: str, *objects: Manifest, group: str = LLM_D_GROUP) -> list[tuple[str, str, str, str]]:
    store = world(manifest.snapshot(manifest.pool("chat"), *objects))
    member = Identity("InferenceModelRewrite", "default", name, group)
    found = store.get(topology.member_problems, member)
    return [(each.place.field, each.reason, each.severity, each.message) for each in found]


def test_rules_that_come_after_others_and_targets_that_are_never_chosen_are_told() -> None:
    old = rewrite("old", rule("a", "b", x=None), rule("b", y=None), rule(z=None), group=INFERENCE_X_GROUP)
    young = rewrite("young", rule("c", "a", x=1, y=None), rule(y=None), created="2026-02-01T00:00:00Z")
    assert told("old", old, young, group=INFERENCE_X_GROUP) == [
        (
            "spec.rules[1].matches[0].model.value",
            "Shadowed",
            "warning",
            "an earlier rule has model 'b' already, so this has no effect",
        )
    ]
    assert told("young", old, young) == [
        (
            "spec.rules[0].matches[1].model.value",
            "Shadowed",
            "warning",
            "InferenceModelRewrite old has model 'a' already, so this has no effect",
        ),
        (
            "spec.rules[0].targets[1].weight",
            "NoEffect",
            "warning",
            "it is missing, and others of the rule have one, so this target is never chosen",
        ),
        (
            "spec.rules[1]",
            "Shadowed",
            "warning",
            "InferenceModelRewrite old has every other model already, so this has no effect",
        ),
    ]
    assert told("young", young)[:1] == told("young", old, young)[1:2]


def test_an_objective_of_the_former_group_gives_way_and_that_is_told() -> None:
    def objective(group: str, priority: int) -> Manifest:
        return {
            "apiVersion": f"{group}/v1alpha2",
            "kind": "InferenceObjective",
            "metadata": {"name": "batch"},
            "spec": {"poolRef": {"name": "chat"}, "priority": priority},
        }

    both = objective(INFERENCE_X_GROUP, 9), objective(LLM_D_GROUP, -1)
    store = world(manifest.snapshot(manifest.pool("chat"), *both))
    pool = store.get(topology.pool_settings, KEY)
    assert pool is not None and pool.objectives == {"batch": -1}
    reasons = {
        group: [
            each.reason
            for each in store.get(
                topology.member_problems, Identity("InferenceObjective", "default", "batch", group)
            )
        ]
        for group in (INFERENCE_X_GROUP, LLM_D_GROUP)
    }
    assert reasons == {INFERENCE_X_GROUP: ["Superseded"], LLM_D_GROUP: []}
