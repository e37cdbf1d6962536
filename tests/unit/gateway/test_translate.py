"""The translation as a whole: deterministic, and whole when parts are wrong. Cases are in tests/golden."""

import msgspec
from tests import manifests as manifest
from tests.manifests import Manifest, gateway, snapshot

from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate


def route(name: str, *parents: str) -> Manifest:
    rule = {"matches": [{"path": {"value": f"/{name}"}}], "backendRefs": [{"name": "web", "port": 80}]}
    spec = {"parentRefs": [{"name": each} for each in parents], "rules": [rule]}
    return manifest.manifest("HTTPRoute", name, spec)


def test_the_order_of_objects_does_not_matter() -> None:
    parts = [gateway("a"), gateway("b"), route("x", "a"), route("y", "b", "a")]
    settings = GatewaySettings()
    forward, backward = translate(snapshot(*parts), settings), translate(snapshot(*parts[::-1]), settings)
    assert msgspec.json.encode(forward.resources) == msgspec.json.encode(backward.resources)
    assert forward.problems == backward.problems


def test_gateways_on_one_port_share_the_listener() -> None:
    one, other = gateway("a"), gateway("b")
    one["spec"]["listeners"][0]["hostname"] = "a.example"
    other["spec"]["listeners"][0]["hostname"] = "b.example"
    found = translate(snapshot(one, other, route("x", "a"), route("y", "b")), GatewaySettings())
    assert list(found.resources["listener"]) == ["port-8080"]
    hosts = found.resources["route"]["port-8080"]["virtual_hosts"]
    assert {host["name"]: [each["name"] for each in host["routes"]] for host in hosts} == {
        "a.example": ["default/x/0/0"],
        "b.example": ["default/y/0/0"],
    }
    assert [(each.gateway, each.port, each.routes) for each in found.summary.listeners] == [
        ("default/a", 8080, 1),
        ("default/b", 8080, 1),
    ]


def test_a_route_edit_leaves_the_listener_alone() -> None:
    before = translate(snapshot(gateway("a"), route("x", "a")), GatewaySettings())
    after = translate(snapshot(gateway("a"), route("z", "a")), GatewaySettings())
    assert before.resources["listener"] == after.resources["listener"]
    assert before.resources["route"] != after.resources["route"]


def test_nothing_gives_our_picker_and_no_listener() -> None:
    found = translate(snapshot(), GatewaySettings())
    assert {kind: list(names) for kind, names in found.resources.items()} == {
        "listener": [],
        "route": [],
        "cluster": ["picker/own"],
        "endpoint": [],
    }
