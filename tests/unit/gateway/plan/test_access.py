"""Who may call what: the narrowest policy, the oldest of equals, and nobody where it cannot be used."""

import json
from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.gateway import ir
from headgate.gateway.plan import access, backend_auth
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.manifests.decode import decode
from headgate.model.api_keys import ApiKey
from headgate.model.meta import GATEWAY_GROUP, Identity

GATE = Identity("Gateway", "default", "gate", GATEWAY_GROUP)
ROUTE = Identity("HTTPRoute", "default", "routes", GATEWAY_GROUP)
KEYS = json.dumps({"keys": [{"kty": "RSA"}]})


def secret(name: str, **values: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def policy(name: str, target: dict[str, str], created: str = "", **spec: Any) -> Manifest:
    metadata = {"name": name, **({"creationTimestamp": created} if created else {})}
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": metadata,
        "spec": {"targetRefs": [target], **(spec or {"apiKeys": {"secretRefs": [{"name": "s"}]}})},
    }


def objects(*more: Manifest) -> list[Manifest]:
    return [manifest.gateway(), manifest.route(manifest.rule("fit")), secret("s", alice="a"), *more]


def names(found: ir.Access | None) -> str | None:
    return None if found is None else found.name


def test_a_listeners_policy_counts_before_its_gateways() -> None:
    store = world(
        manifest.snapshot(
            *objects(
                policy("wide", {"kind": "Gateway", "name": "gate"}),
                policy("narrow", {"kind": "Gateway", "name": "gate", "sectionName": "http"}),
                policy("route", {"kind": "HTTPRoute", "name": "routes"}),
            )
        )
    )
    assert names(access.of_listener(store, GATE, GATE, "http")) == "default/narrow"
    assert names(access.of_listener(store, GATE, GATE, "other")) == "default/wide"
    assert names(access.of_route(store, ROUTE)) == "default/route"
    assert access.of_route(store, Identity("HTTPRoute", "default", "x", GATEWAY_GROUP)) is None


def test_one_policy_counts_for_a_target_and_the_other_is_told() -> None:
    target = {"kind": "Gateway", "name": "gate"}
    found = translate(
        manifest.snapshot(
            *objects(
                policy("a", target, "2026-02-01T00:00:00Z"),
                policy("b", target, "2026-01-01T00:00:00Z"),
                policy("c", {"kind": "HTTPRoute", "name": "nowhere"}),
            )
        ),
        GatewaySettings(),
    ).problems
    told = [
        (str(each.place.object), each.reason) for each in found if "AccessPolicy" in str(each.place.object)
    ]
    assert told == [
        ("AccessPolicy default/a", "Conflicted"),
        ("AccessPolicy default/c", "TargetNotFound"),
    ]


@pytest.mark.parametrize(
    "spec",
    [
        {"apiKeys": {"secretRefs": [{"name": "missing"}]}},
        {"apiKeys": {"secretRefs": [{"name": "odd"}]}},
        {"jwt": {"jwks": {"inline": "{}"}}},
        {"jwt": {"jwks": {"inline": json.dumps({"keys": []})}}},
        {"jwt": {"jwks": {"ref": {"name": "missing"}}}},
    ],
)
def test_a_policy_that_cannot_be_used_lets_nobody_in(spec: dict[str, Any]) -> None:
    made = objects(secret("odd", one="a b"), policy("p", {"kind": "Gateway", "name": "gate"}, **spec))
    store = world(manifest.snapshot(*made))
    found = access.of_listener(store, GATE, GATE, "http")
    assert found == ir.Access("default/p")
    problems = translate(manifest.snapshot(*made), GatewaySettings()).problems
    assert [each.reason for each in problems if "AccessPolicy" in str(each.place.object)] == [
        "InvalidAccessPolicy"
    ]


def test_a_key_of_two_clients_is_the_first_ones() -> None:
    store = world(
        manifest.snapshot(
            *objects(
                secret("twice", bob="k", carol="k"),
                policy(
                    "p",
                    {"kind": "Gateway", "name": "gate"},
                    apiKeys={"secretRefs": [{"name": "twice"}], "header": "x-api-key"},
                ),
            )
        )
    )
    found = access.of_listener(store, GATE, GATE, "http")
    assert found is not None
    assert found.keys == ir.Keys((("bob", "k"),), "x-api-key")
    assert "bob" not in repr(found)


def test_a_key_of_two_clients_is_said_to_let_both_in() -> None:
    spec: dict[str, Any] = {"apiKeys": {"secretRefs": [{"name": "one"}, {"name": "two"}]}}
    made = objects(
        secret("one", bob="k"),
        secret("two", carol="k", dave="a b"),
        policy("p", {"kind": "Gateway", "name": "gate"}, **spec),
    )
    found = translate(manifest.snapshot(*made), GatewaySettings()).problems
    shared, unusable = sorted(
        (each.message for each in found if each.reason == "InvalidAccessPolicy"),
        key=lambda message: "one key" not in message,
    )
    assert "bob and carol have one key" in shared and shared.endswith("counts as the first")
    assert "Secret two: " in unusable and unusable.endswith("is not let in")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"apiKeys": {"secretRefs": [{"name": "s"}]}, "jwt": {"jwks": {"inline": KEYS}}},
        {"jwt": {"jwks": {}}},
        {"jwt": {"jwks": {"inline": KEYS, "uri": "https://a.example"}}},
        {"jwt": {"jwks": {"uri": "ftp://a.example"}}},
    ],
)
def test_a_policy_says_one_thing(spec: dict[str, Any]) -> None:
    raw = policy("p", {"kind": "Gateway", "name": "gate"})
    raw["spec"] = {"targetRefs": raw["spec"]["targetRefs"], **spec}
    found = decode(raw, "", lambda _: 0)
    assert found.problems and found.object is None


def test_keys_for_backends() -> None:
    def auth(name: str, ref: str) -> Manifest:
        return {
            "apiVersion": "headgate.dev/v1alpha1",
            "kind": "BackendAuthPolicy",
            "metadata": {"name": name},
            "spec": {
                "targetRefs": [{"kind": "InferencePool", "name": "fit"}],
                "secretRef": {"name": ref, "key": "k"},
            },
        }

    made = [manifest.pool("fit"), secret("engine", k="sk-engine"), auth("a", "engine"), auth("b", "missing")]
    store = world(manifest.snapshot(*objects(*made)))
    assert backend_auth.of(store, "InferencePool", "default", "fit") == ApiKey("sk-engine")
    assert backend_auth.of(store, "Service", "default", "fit") is None
    found = translate(manifest.snapshot(*objects(*made)), GatewaySettings())
    told = [
        (each.place.field, each.reason) for each in found.problems if "AuthPolicy" in str(each.place.object)
    ]
    assert told == [("spec.secretRef", "InvalidAPIKey"), ("spec.targetRefs[0]", "Conflicted")]
    assert "sk-engine" not in str(found.resources)
