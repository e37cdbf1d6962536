"""The translation as a whole: deterministic, and whole when parts are wrong. Cases are in tests/golden."""

from typing import Any

import msgspec

from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.model.decode import decode
from headgate.model.snapshot import Snapshot

API = "gateway.networking.k8s.io/v1"


def manifest(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": API, "kind": kind, "metadata": {"name": name}, "spec": spec}


def gateway(name: str) -> dict[str, Any]:
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    return manifest("Gateway", name, {"gatewayClassName": "headgate", "listeners": [listener]})


def route(name: str, *parents: str) -> dict[str, Any]:
    rule = {"matches": [{"path": {"value": f"/{name}"}}], "backendRefs": [{"name": "web", "port": 80}]}
    return manifest("HTTPRoute", name, {"parentRefs": [{"name": each} for each in parents], "rules": [rule]})


def snapshot(*raw: dict[str, Any]) -> Snapshot:
    found = [decode(each, "", lambda _: 0).object for each in raw]
    return Snapshot(tuple(each for each in found if each is not None))


def test_the_order_of_objects_does_not_matter() -> None:
    parts = [gateway("a"), gateway("b"), route("x", "a"), route("y", "b", "a")]
    settings = GatewaySettings()
    forward, backward = translate(snapshot(*parts), settings), translate(snapshot(*parts[::-1]), settings)
    assert msgspec.json.encode(forward.resources) == msgspec.json.encode(backward.resources)
    assert forward.problems == backward.problems


def test_gateways_on_one_port_share_the_listener() -> None:
    found = translate(
        snapshot(gateway("a"), gateway("b"), route("x", "a"), route("y", "b")), GatewaySettings()
    )
    assert list(found.resources["listener"]) == ["port-8080"]
    [host] = found.resources["route"]["port-8080"]["virtual_hosts"]
    assert [each["name"] for each in host["routes"]] == ["default/x/0/0", "default/y/0/0"]
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
    found = translate(Snapshot(), GatewaySettings())
    assert {kind: list(names) for kind, names in found.resources.items()} == {
        "listener": [],
        "route": [],
        "cluster": ["picker/own"],
        "endpoint": [],
    }
