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
