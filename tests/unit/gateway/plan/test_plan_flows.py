"""Which FlowPolicy counts for a rule and for a listener: the nearest, of equally near ones the oldest."""

from typing import Any

from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.gateway.plan import flows
from headgate.model.meta import GATEWAY_GROUP, Identity

GATEWAY = Identity("Gateway", "default", "gate", GATEWAY_GROUP)
SET = Identity("ListenerSet", "default", "more", GATEWAY_GROUP)
ROUTE = Identity("HTTPRoute", "default", "routes", GATEWAY_GROUP)


def policy(its_name: str, created: str = "2026-01-01T00:00:00Z", **ref: Any) -> Manifest:
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "FlowPolicy",
        "metadata": {"name": its_name, "creationTimestamp": created},
        "spec": {"targetRefs": [ref], "requests": {"priority": 1}},
    }


def test_a_rules_policy_is_before_its_routes() -> None:
    store = world(
        manifest.snapshot(
            policy("young", "2026-03-01T00:00:00Z", kind="HTTPRoute", name="routes"),
            policy("route", kind="HTTPRoute", name="routes"),
            policy("rule", "2026-02-01T00:00:00Z", kind="HTTPRoute", name="routes", sectionName="big"),
            policy("other", kind="GRPCRoute", name="routes"),
        )
    )
    assert store.get(flows.of_rule, ROUTE, "big") == "default/rule"
    assert store.get(flows.of_rule, ROUTE, "small") == "default/route"
    assert store.get(flows.of_rule, ROUTE, None) == "default/route"
    assert store.get(flows.of_rule, Identity("HTTPRoute", "elsewhere", "routes", GATEWAY_GROUP), None) is None


def test_a_listeners_policy_is_before_its_owners_and_that_before_the_gateways() -> None:
    store = world(
        manifest.snapshot(
            policy("gateway", kind="Gateway", name="gate"),
            policy("listener", kind="Gateway", name="gate", sectionName="http"),
            policy("set", kind="ListenerSet", name="more"),
        )
    )
    assert store.get(flows.of_listener, GATEWAY, GATEWAY, "http") == "default/listener"
    assert store.get(flows.of_listener, GATEWAY, GATEWAY, "https") == "default/gateway"
    assert store.get(flows.of_listener, GATEWAY, SET, "http") == "default/set"
    assert store.get(
        flows.of_listener, GATEWAY, Identity("ListenerSet", "default", "x", GATEWAY_GROUP), "http"
    ) == ("default/gateway")
