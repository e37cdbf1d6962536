"""FlowPolicies: which one counts for a pool, what it says, what is wrong with it."""

from typing import Any

import pytest
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


def test_what_does_nothing_beside_the_rest_is_told_and_the_policy_counts() -> None:
    store = world(
        manifest.snapshot(
            manifest.pool("chat"),
            policy(
                "fair",
                detector={"maxConcurrency": 5, "kvCache": 0.5},
                bands=[{"priority": -1, "evict": True}, {"priority": 0, "evict": True}],
            ),
        )
    )
    found = store.any_object(Identity("FlowPolicy", "default", "fair", HEADGATE_GROUP))
    assert isinstance(found, FlowPolicy)
    problems = list(flow_policies.problems_of(store, found))
    assert {(each.reason, each.severity) for each in problems} == {("NoEffect", "warning")}
    assert [(each.place.field, each.message) for each in problems] == [
        (
            "spec.detector.maxConcurrency",
            "it counts for type Concurrency, and the type is Learned, so this has no effect",
        ),
        (
            "spec.detector.kvCache",
            "it counts for type Utilization, and the type is Learned, so this has no effect",
        ),
        (
            "spec.bands[1].evict",
            "only requests of a priority below 0 are ended for others, so this has no effect",
        ),
    ]
    rules = store.get(flow_policies.rules_of, KEY)
    assert rules is not None and rules.object == "default/fair"


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


def test_sessions_are_named_in_order_and_by_one_thing_each() -> None:
    sources = [{"header": "X-Team"}, {"cookie": "SID"}, {"body": "metadata.user_id"}]
    store = world(
        manifest.snapshot(
            manifest.pool("chat"),
            manifest.pool("other"),
            policy("a", sessions=sources),
            policy("b", pool="other", sessions=[]),
        )
    )
    for key, expected in (
        (KEY, ("header:x-team", "cookie:SID", "body:metadata.user_id")),
        (PoolKey("default/other"), ()),
    ):
        found = store.get(flow_policies.rules_of, key)
        assert found is not None and found.sessions == expected


@pytest.mark.parametrize(
    ("sources", "field", "words"),
    [
        ([{}], "[0]", "write one of header, cookie and body"),
        ([{"header": "a"}, {"header": "b", "body": "user"}], "[1]", "write one of header, cookie and body"),
        ([{"header": "X-A"}, {"header": "x-a"}], "[1]", "header x-a is named twice; remove one"),
        ([{"header": "x-headgate-client"}], "[0].header", "the gateway's own"),
        ([{"header": "Connection"}], "[0].header", "names no session"),
        ([{"header": ":path"}], "[0].header", "must be a header"),
        ([{"cookie": "a b"}], "[0].cookie", "must be a header or parameter name"),
        ([{"body": "messages"}], "[0].body", "prompt_cache_key"),
        ([{"body": "user"}] * 9, "", "8"),
    ],
)
def test_a_source_that_cannot_count_is_refused(sources: list[Any], field: str, words: str) -> None:
    found = decode(policy("p", sessions=sources), "", lambda _: 0).problems
    assert found[0].place.field == f"spec.sessions{field}"
    assert words in found[0].message


def for_route(
    name: str, *refs: dict[str, str], created: str = "2026-01-01T00:00:00Z", **spec: Any
) -> Manifest:
    found = policy(name, created, **spec)
    found["spec"]["targetRefs"] = list(refs)
    return found


ROUTE = {"kind": "HTTPRoute", "name": "routes"}
GATE = {"kind": "Gateway", "name": "gate"}


def test_policies_of_routes_and_gateways_are_in_every_pool_and_none_is_a_pools_own() -> None:
    store = world(
        manifest.snapshot(
            manifest.pool("chat"),
            manifest.pool("other"),
            manifest.gateway(),
            manifest.route(manifest.rule("chat")),
            for_route("batch", ROUTE, requests={"priority": -10, "fairnessId": "nightly"}),
            for_route("both", GATE, {"name": "chat"}, flows=[{"id": "nightly", "weight": 2}]),
            policy("fair", pool="other"),
        )
    )
    pool = store.get(topology.pool, KEY)
    assert pool is not None
    assert pool.flow is not None
    assert pool.flow.object == "default/both"
    assert set(pool.flows_of_routes) == {"default/batch", "default/both"}
    batch = pool.flows_of_routes["default/batch"]
    assert (batch.priority, batch.fairness_id, batch.trusted) == (-10, "nightly", None)
    other = store.get(topology.pool, PoolKey("default/other"))
    assert other is not None
    assert other.flows_of_routes == pool.flows_of_routes
    assert [told(store, name) for name in ("batch", "both", "fair")] == [[], [], []]
    settings = store.get(topology.pool_settings, KEY)
    assert settings is not None
    assert not settings.flows_of_routes, "no route is made again for the policy of another"


def test_targets_and_sections_that_are_not_there_are_told() -> None:
    store = world(
        manifest.snapshot(
            manifest.gateway(),
            manifest.route({**manifest.rule("chat"), "name": "big"}),
            manifest.pool("chat"),
            for_route("old", {**ROUTE, "sectionName": "big"}, {**GATE, "sectionName": "http"}),
            for_route("young", {**ROUTE, "sectionName": "big"}, ROUTE, created="2026-02-01T00:00:00Z"),
            for_route(
                "astray",
                {**ROUTE, "sectionName": "small"},
                {**GATE, "sectionName": "https"},
                {"kind": "ListenerSet", "name": "gate"},
            ),
        )
    )
    assert told(store, "old") == []
    assert told(store, "young") == [("spec.targetRefs[0]", "Conflicted")]
    assert told(store, "astray") == [
        ("spec.targetRefs[0].sectionName", "TargetNotFound"),
        ("spec.targetRefs[1].sectionName", "TargetNotFound"),
        ("spec.targetRefs[2]", "TargetNotFound"),
    ]


def test_what_counts_for_pools_alone_needs_one() -> None:
    said = [
        for_route(
            "a", ROUTE, flows=[{"id": "x"}], detector={"type": "Concurrency"}, requests={"priority": 1}
        ),
        for_route("b", {**ROUTE, "group": "inference.networking.k8s.io"}),
        for_route("c", {"name": "chat", "sectionName": "x"}),
        for_route("d", {**GATE, "group": "gateway.networking.k8s.io"}, requests={"priority": 1}),
    ]
    found = [decode(each, "f.yaml", lambda _: 0).problems for each in said]
    fields = [[each.place.field for each in problems] for problems in found]
    assert fields == [
        ["spec.detector", "spec.flows"],
        ["spec.targetRefs[0].group"],
        ["spec.targetRefs[0].sectionName"],
        [],
    ]
