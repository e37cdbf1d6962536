"""The gateway half over changes: what is new, what it costs, and that nothing else is told."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest

from headgate.gateway import half, resources
from headgate.gateway.envoy import protos
from headgate.gateway.host_groups import group_of
from headgate.gateway.plan.classes import ALL
from headgate.gateway.settings import GatewaySettings
from headgate.model.snapshot import follow
from headgate.model.store import Store

GROUP = group_of("n0.example.com")


def objects(count: int) -> list[Manifest]:
    """A Gateway, *count* routes with a host each, and as many pools with a server each."""
    found = [manifest.gateway()]
    for number in range(count):
        name = f"n{number}"
        route = manifest.route(manifest.rule(name), name=name)
        route["spec"]["hostnames"] = [f"{name}.example.com"]
        server = manifest.model_server(name, f"10.0.{number // 250}.{number % 250 + 1}:8000", app=name)
        found += [route, manifest.pool(name), server]
    return found


def running(found: list[Manifest]) -> half.GatewayHalf:
    made = half.GatewayHalf(GatewaySettings())
    follow(made.world, manifest.snapshot(*found))
    made.refresh(0.0)
    return made


def changed(
    made: half.GatewayHalf, found: list[Manifest], now: float = 0.0
) -> tuple[dict[str, list[str]], int]:
    """Names of the changed and removed resources by kind, and how many computations ran."""
    follow(made.world, manifest.snapshot(*found))
    runs = made.world.runs
    update = made.refresh(now)
    names: dict[str, list[str]] = {}
    for changes in update.changes.values():
        for resource in changes.changed:
            names.setdefault(resource.kind, []).append(resource.name)
        for kind, name in changes.removed:
            names.setdefault(kind, []).append(f"-{name}")
    return names, made.world.runs - runs


@pytest.mark.parametrize("count", [5, 200])
def test_an_endpoint_change_touches_one_endpoint_resource(count: int) -> None:
    found = objects(count)
    made = running(found)
    made.refresh(0.0)  # a table that was cut up into groups of hosts is looked at once more
    found[3] = manifest.model_server("n0", "10.9.9.9:8000", app="n0")
    names, runs = changed(made, found)
    assert names == {"endpoint": ["pool/default/n0"]}
    assert runs == 9


def test_an_endpoint_change_leaves_the_routes_to_its_pool_alone() -> None:
    found = objects(1)
    for number in range(50):
        route = manifest.route(manifest.rule("n0"), name=f"more-{number}")
        route["spec"]["hostnames"] = [f"more-{number}.example.com"]
        found.append(route)
    made = running(found)
    found[3] = manifest.model_server("n0", "10.9.9.9:8000", app="n0")
    assert changed(made, found) == ({"endpoint": ["pool/default/n0"]}, 9)


def test_what_leaves_goes_together_and_nothing_is_computed_for_it() -> None:
    found = objects(3)
    made = running(found)
    for number in range(3):
        found[3 * number + 3] = manifest.model_server(f"n{number}", "10.9.9.9:8000", app=f"n{number}")
        changed(made, found, now=1.01 + number / 100)
    due = made.due
    assert due == 3.25
    runs = made.world.runs
    (changes,) = made.refresh(due).changes.values()
    assert [each.name for each in changes.changed] == [f"pool/default/n{number}" for number in range(3)]
    assert made.due is None
    assert made.world.runs == runs
    for each in changes.changed:
        assert each == made.world.get(resources.one, (ALL, "endpoint", each.name))


def test_a_server_that_begins_to_speak_https_changes_its_cluster() -> None:
    found = objects(3)
    made = running(found)
    found[3] = manifest.model_server("n0", "https://10.9.9.9:8000", app="n0")
    for _ in range(2):  # there and back
        names, _ = changed(made, found)
        assert (names["cluster"], names["endpoint"]) == (["pool/default/n0"], ["pool/default/n0"])
        found[3]["spec"]["url"] = "http://10.9.9.9:8000"


@pytest.mark.parametrize(("count", "touched"), [(5, ["port-8080"]), (200, [f"port-8080/{GROUP}"])])
def test_a_changed_route_touches_its_table_or_its_group_of_hosts(count: int, touched: list[str]) -> None:
    found = objects(count)
    made = running(found)
    found[1]["spec"]["rules"][0]["matches"] = [{"path": {"value": "/v1"}}]
    names, runs = changed(made, found)
    assert names == {"route" if count == 5 else "scope": touched}
    assert runs < 40


def test_what_changes_nothing_is_not_told() -> None:
    found = objects(3)
    made = running(found)
    found[1]["metadata"]["annotations"] = {"anybody": "may write here"}
    assert changed(made, found)[0] == {}


def test_a_removed_pool_takes_its_resources_along() -> None:
    found = objects(3)
    made = running(found)
    names, _ = changed(made, found[:1] + found[4:])
    assert names["cluster"] == names["endpoint"] == ["-pool/default/n0"]


def test_problems_come_and_go() -> None:
    found = objects(2)
    made = running(found)
    assert not made.problems
    changed(made, found[:3] + found[4:])
    assert [(each.reason, each.place.object) for each in made.problems] == [
        ("NoEndpoints", "InferencePool default/n0")
    ]
    changed(made, found)
    assert not made.problems


def test_a_bug_costs_what_it_meets(monkeypatch: pytest.MonkeyPatch) -> None:
    real = resources.as_json

    def fails_for_one(world: Store, key: resources.Key) -> Any:
        if key[2] == "pool/default/n1" and key[1] == "cluster":
            raise RuntimeError("boom")
        return real(world, key)

    monkeypatch.setattr(resources, "as_json", fails_for_one)
    made = half.GatewayHalf(GatewaySettings())
    follow(made.world, manifest.snapshot(*objects(3)))
    update = made.refresh(0.0)
    changes = update.changes[ALL]
    names = {resource.name for resource in changes.changed if resource.kind == "cluster"}
    assert names == {"picker/own", "pool/default/n0", "pool/default/n2"}
    assert [(each.place.object, each.reason) for each in made.problems] == [
        ("cluster pool/default/n1", "InternalError")
    ]


def test_what_is_sent_is_what_is_shown() -> None:
    made = running(objects(3))
    for kind, names in made.world.get(resources.names_of, ALL).items():
        for name in names:
            shown = made.world.get(resources.as_json, (ALL, kind, name))
            sent = made.world.get(resources.one, (ALL, kind, name))
            message = protos.MESSAGES[kind].FromString(sent.body)
            assert message == protos.to_message(kind, shown), name


def test_what_is_shown_to_people_is_not_remembered() -> None:
    made = running(objects(3))
    before = made.world.nodes
    for kind, names in made.world.get(resources.names_of, ALL).items():
        for name in names:
            assert made.world.get(resources.as_json, (ALL, kind, name))
    assert made.world.nodes > before
    made.world.collect()
    assert made.world.nodes == before
