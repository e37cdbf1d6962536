"""Which routes are on which listeners where HTTPRoutes and GRPCRoutes want the same hosts."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest

from headgate.gateway.half import world_of
from headgate.gateway.plan.attachment import CONFLICT, attachments, parents
from headgate.gateway.plan.problems import problems_of
from headgate.gateway.settings import GatewaySettings
from headgate.model.change import Change
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.snapshot import difference, held, take
from headgate.model.store import Store


def route(kind: str, name: str, *hostnames: str, created: str = "", **ref: Any) -> Manifest:
    metadata = {"name": name, **({"creationTimestamp": f"{created}-01-01T00:00:00Z"} if created else {})}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": f"{kind}Route",
        "metadata": metadata,
        "spec": {"parentRefs": [{"name": "gate", **ref}], "hostnames": list(hostnames)},
    }


def gate(**hosts: str) -> Manifest:
    listeners = [
        {"name": name, "port": 80, "protocol": "HTTP", **({"hostname": host} if host else {})}
        for name, host in hosts.items()
    ]
    found = manifest.gateway()
    return {**found, "spec": {**found["spec"], "listeners": listeners}}


def world(*objects: Manifest) -> Store:
    found = world_of(GatewaySettings())
    take(found, difference(held(found), manifest.snapshot(*objects)))
    return found


def of(kind: str, name: str) -> Identity:
    return Identity(f"{kind}Route", "default", name, GATEWAY_GROUP)


def on(store: Store, kind: str, name: str) -> list[str]:
    """Names of the listeners that a route is on."""
    return [each.listener.name for each in store.get(attachments, of(kind, name))]


@pytest.mark.parametrize(
    ("http", "grpc", "meet"),
    [
        (["a.test"], ["a.test"], True),
        (["a.test"], ["b.test"], False),
        (["*.test"], ["a.test"], True),
        (["a.test"], ["*.test"], True),
        (["*.a.test"], ["*.test"], True),
        ([], ["a.test"], True),
        ([], [], True),
        (["a.test", "b.test"], ["c.test", "b.test"], True),
    ],
)
@pytest.mark.parametrize("older", ["HTTP", "GRPC"])
def test_of_two_kinds_with_a_host_in_common_the_older_route_counts(
    http: list[str], grpc: list[str], meet: bool, older: str
) -> None:
    created = {"HTTP": "2025", "GRPC": "2025", older: "2024"}
    store = world(
        gate(http=""),
        route("HTTP", "h", *http, created=created["HTTP"]),
        route("GRPC", "g", *grpc, created=created["GRPC"]),
    )
    for kind, name in (("HTTP", "h"), ("GRPC", "g")):
        expected = [] if meet and kind != older else ["http"]
        assert on(store, kind, name) == expected
        (parent,) = store.get(parents, of(kind, name))
        assert parent.reason == ("Accepted" if expected else CONFLICT)


def test_it_is_a_matter_of_each_listener() -> None:
    store = world(
        gate(one="one.test", two="two.test"),
        route("GRPC", "g", "one.test", created="2024"),
        route("HTTP", "h", created="2025"),
    )
    assert on(store, "HTTP", "h") == ["two"]
    (told,) = [each for each in store.get(problems_of, of("HTTP", "h")) if each.severity == "error"]
    assert told.reason == CONFLICT
    assert "GRPCRoute default/g" in told.message and "'one'" in told.message
    assert told.place.field == "spec.parentRefs[0]"


def test_who_is_kept_off_keeps_nobody_off() -> None:
    store = world(
        gate(http=""),
        route("HTTP", "first", "a.test", created="2023"),
        route("GRPC", "second", "a.test", "b.test", created="2024"),
        route("HTTP", "third", "b.test", created="2025"),
    )
    assert on(store, "GRPC", "second") == []
    assert on(store, "HTTP", "third") == ["http"]


def test_of_equal_age_the_name_counts_and_a_route_that_goes_makes_room() -> None:
    objects = [gate(http=""), route("HTTP", "b", "a.test"), route("GRPC", "a", "a.test")]
    store = world(*objects)
    assert (on(store, "GRPC", "a"), on(store, "HTTP", "b")) == (["http"], [])
    store.apply([Change(of("GRPC", "a"), None)])
    assert on(store, "HTTP", "b") == ["http"]


def test_routes_of_one_kind_share_hosts() -> None:
    store = world(gate(http=""), *(route("HTTP", name, "a.test") for name in ("a", "b")))
    assert on(store, "HTTP", "a") == on(store, "HTTP", "b") == ["http"]
