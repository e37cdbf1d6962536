"""What is said of objects after Envoys have said what they take."""

from collections.abc import Mapping
from typing import Any

import msgspec
from tests import manifests as manifest
from tests.live.harness.echo import service
from tests.live.harness.http_cases import listener_set
from tests.live.harness.lab import gate, route
from tests.manifests import Manifest, decoded
from tests.resolved import world

from headgate.gateway.plan.results.of_objects import judged, result
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.standing import Standing
from headgate.model.meta import Identity
from headgate.model.store import Store

HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
OTHER = {"name": "other", "port": 81, "protocol": "HTTP"}
SETS = {"allowedListeners": {"namespaces": {"from": "Same"}}}
TARGET = "default/gate"


def made(*objects: Manifest) -> Store:
    return world(decoded(*objects, *service("one", 1)), GatewaySettings(per_gateway=True))


def told(standing: Standing, found: Store) -> dict[str, Any]:
    """Kind → status of its only object."""
    said = {each: standing.result(found, each, found.get(result, each)) for each in found.get(judged)}
    return {each.kind: msgspec.to_builtins(one) for each, one in said.items()}


def conditions(status: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}


def test_nothing_is_programmed_before_envoy_has_said_so() -> None:
    more = listener_set("more", ("b", "b.test"))
    more["spec"]["parentRef"]["name"] = "gate"
    found = made(gate(HTTP, **SETS), more)
    standing = Standing()
    for kind in ("Gateway", "ListenerSet"):
        status = told(standing, found)[kind]
        assert conditions(status)["Programmed"] == ("False", "Pending")
        assert conditions(status)["Accepted"][0] == "True"
        assert conditions(status["listeners"][0])["Programmed"] == ("False", "Pending")
    assert {each.kind for each in standing.taken(found, TARGET)} == {"Gateway", "ListenerSet"}
    assert not standing.taken(found, TARGET)
    for kind in ("Gateway", "ListenerSet"):
        status = told(standing, found)[kind]
        assert conditions(status)["Programmed"] == conditions(status["listeners"][0])["Programmed"]
        assert conditions(status)["Programmed"] == ("True", "Programmed")
    standing.forget(TARGET)
    assert conditions(told(standing, found)["Gateway"])["Programmed"] == ("False", "Pending")


def test_a_new_generation_waits_again() -> None:
    standing = Standing()
    standing.taken(made(gate(HTTP)), TARGET)
    edited = gate(HTTP, OTHER)
    edited["metadata"]["generation"] = 2
    found = made(edited)
    assert conditions(told(standing, found)["Gateway"])["Programmed"] == ("False", "Pending")
    assert [each.kind for each in standing.taken(found, TARGET)] == ["Gateway"]


def test_a_listener_that_envoy_cannot_open() -> None:
    found, standing = made(gate(HTTP, OTHER)), Standing()
    standing.taken(found, TARGET)
    (first, second) = sorted(each.table for each in _listeners(found))
    assert standing.closed({(TARGET, first): "cannot bind"})
    assert not standing.closed({(TARGET, first): "cannot bind"})
    status = told(standing, found)["Gateway"]
    assert conditions(status)["Programmed"] == ("True", "Programmed")
    assert [conditions(each)["Programmed"] for each in status["listeners"]] == [
        ("False", "Invalid"),
        ("True", "Programmed"),
    ]
    assert standing.closed({(TARGET, first): "cannot bind", (TARGET, second): "cannot bind"})
    assert conditions(told(standing, found)["Gateway"])["Programmed"] == ("False", "Invalid")
    assert standing.closed({("default/elsewhere", first): "cannot bind"})
    assert conditions(told(standing, found)["Gateway"])["Programmed"] == ("True", "Programmed")


def _listeners(found: Store) -> Any:
    from headgate.gateway.plan.listeners import listeners_of

    (gateway,) = [each for each in found.get(judged) if each.kind == "Gateway"]
    return found.get(listeners_of, gateway)


def test_what_envoy_refuses_is_said_of_its_object_although_it_is_left_out() -> None:
    found, standing = made(gate(HTTP), route("r", "one"), manifest.pool("p")), Standing()
    standing.taken(found, TARGET)
    every = {each.kind: each for each in found.get(judged)}
    refused: dict[Identity, Any] = {
        every[kind]: (found.get(result, every[kind]), "bad regex") for kind in ("Gateway", "HTTPRoute")
    }
    assert standing.refused(refused) == set(refused)
    assert not standing.refused(refused)
    without = made()
    gone = {each.kind: msgspec.to_builtins(standing.result(without, each, None)) for each in refused}
    assert conditions(gone["Gateway"])["Programmed"] == ("False", "Invalid")
    (parent,) = gone["HTTPRoute"]["parents"]
    assert conditions(parent)["Accepted"] == ("False", "UnsupportedValue")
    assert "bad regex" in parent["conditions"][0]["message"]
    assert standing.refused({}) == set(refused)
    assert conditions(told(standing, found)["HTTPRoute"]["parents"][0])["Accepted"][0] == "True"
