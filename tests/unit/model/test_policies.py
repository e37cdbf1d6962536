"""Which policy counts: the oldest for exactly what is asked, of its own kind."""

from typing import Any

from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import AccessPolicy, BackendAuthPolicy, FlowPolicy
from headgate.model.policies import of_listener, oldest

GATE = {"group": GATEWAY_GROUP, "kind": "Gateway", "name": "gate"}
KEYS = {"apiKeys": {"secretRefs": [{"name": "clients"}]}}
FIRST = {"requests": {"priority": 1}}


def policy(kind: str, name: str, created: int, ref: Manifest, **spec: Any) -> Manifest:
    meta = {"name": name, "creationTimestamp": f"2026-01-0{created}T00:00:00Z"}
    rest = {"targetRefs": [ref], **spec}
    return {"apiVersion": "headgate.dev/v1alpha1", "kind": kind, "metadata": meta, "spec": rest}


def test_the_oldest_of_the_kind_counts_and_of_equals_the_first_name() -> None:
    server = {"group": "headgate.dev", "kind": "ModelServer", "name": "gate"}
    store = world(
        manifest.snapshot(
            policy("FlowPolicy", "young", 3, GATE, **FIRST),
            policy("FlowPolicy", "b", 2, GATE, **FIRST),
            policy("FlowPolicy", "a", 2, GATE, **FIRST),
            policy("FlowPolicy", "section", 1, {**GATE, "sectionName": "http"}, **FIRST),
            policy("AccessPolicy", "keys", 1, GATE, **KEYS),
            policy("BackendAuthPolicy", "auth", 1, server, secretRef={"name": "s", "key": "k"}),
        )
    )

    def name_of(found: Identity | None) -> str | None:
        return None if found is None else found.name

    at = ("Gateway", "default", "gate")
    assert name_of(oldest(store, FlowPolicy, *at)) == "a"
    assert name_of(oldest(store, FlowPolicy, *at, "http")) == "section"
    assert oldest(store, FlowPolicy, *at, "https") is None
    assert oldest(store, FlowPolicy, "Gateway", "elsewhere", "gate") is None
    assert name_of(oldest(store, AccessPolicy, *at)) == "keys"
    assert oldest(store, AccessPolicy, *at, "http") is None
    assert oldest(store, BackendAuthPolicy, *at) is None
    assert name_of(oldest(store, BackendAuthPolicy, "ModelServer", "default", "gate")) == "auth"


def test_a_listeners_own_policy_is_nearer_than_its_owners_and_that_than_the_gateways() -> None:
    gate = Identity("Gateway", "default", "gate", GATEWAY_GROUP)
    more = Identity("ListenerSet", "default", "more", GATEWAY_GROUP)
    assert of_listener(gate, more, "http") == ((more, "http"), (more, None), (gate, None))
