"""What is ours of a status, and what stays with others."""

from typing import Any

from headgate.io.kube.merging import Ours, merged, own_part, wanted
from headgate.model.meta import Identity

US, THEM = "headgate.dev/gateway-controller", "example.com/other"
OURS = Ours(US, frozenset({("infra", "gate")}))
ROUTE = Identity("HTTPRoute", "default", "r", "gateway.networking.k8s.io")
GATE = Identity("Gateway", "infra", "gate", "gateway.networking.k8s.io")
OLD_POOL = Identity("InferencePool", "default", "p", "inference.networking.x-k8s.io")
NOW, THEN = "2026-02-02T00:00:00Z", "2026-01-01T00:00:00Z"


def condition(type_: str, status: str = "True", **more: Any) -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": type_, "message": "", "observedGeneration": 1, **more}


def parent(controller: str, name: str = "gate", **more: Any) -> dict[str, Any]:
    ref = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": "infra"}
    return {"parentRef": ref, "controllerName": controller, "conditions": [condition("Accepted", **more)]}


def dated(entry: dict[str, Any], when: str) -> dict[str, Any]:
    return {**entry, "conditions": [{**each, "lastTransitionTime": when} for each in entry["conditions"]]}


def test_entries_of_others_survive_and_ours_are_replaced() -> None:
    current = {"parents": [dated(parent(THEM), THEN), dated(parent(US, "gone"), THEN)]}
    patch = merged(ROUTE, current, {"parents": [parent(US)]}, OURS, NOW)
    assert patch == {"parents": [dated(parent(THEM), THEN), dated(parent(US), NOW)]}


def test_ours_leave_and_others_stay() -> None:
    current = {"parents": [dated(parent(US), THEN), dated(parent(THEM), THEN)]}
    assert merged(ROUTE, current, {"parents": []}, OURS, NOW) == {"parents": [dated(parent(THEM), THEN)]}


def test_the_time_of_a_condition_is_when_its_status_became_another() -> None:
    current = {"parents": [dated(parent(US), THEN)]}
    same = merged(ROUTE, current, {"parents": [parent(US, message="new words")]}, OURS, NOW)
    assert same["parents"][0]["conditions"][0]["lastTransitionTime"] == THEN
    other = merged(ROUTE, current, {"parents": [parent(US, status="False")]}, OURS, NOW)
    assert other["parents"][0]["conditions"][0]["lastTransitionTime"] == NOW


def test_conditions_of_others_on_a_gateway_survive_and_listeners_keep_their_times() -> None:
    listener = {
        "name": "http",
        "attachedRoutes": 0,
        "supportedKinds": [],
        "conditions": [condition("Programmed")],
    }
    current = {
        "conditions": [
            condition("example.com/Warm", lastTransitionTime=THEN),
            condition("Accepted", "Unknown"),
        ],
        "listeners": [dated(listener, THEN)],
    }
    desired = {"conditions": [condition("Accepted")], "listeners": [{**listener, "attachedRoutes": 3}]}
    patch = merged(GATE, current, desired, OURS, NOW)
    assert [(each["type"], each["status"]) for each in patch["conditions"]] == [
        ("example.com/Warm", "True"),
        ("Accepted", "True"),
    ]
    assert patch["listeners"] == [{**dated(listener, THEN), "attachedRoutes": 3}]


def test_a_default_condition_that_nobody_touches_is_dropped() -> None:
    model = Identity("InferenceModel", "default", "m", "inference.networking.x-k8s.io")
    current = {"conditions": [condition("Ready", "Unknown", reason="Pending")]}
    patch = merged(model, current, {"conditions": [condition("Accepted")]}, OURS, NOW)
    assert [each["type"] for each in patch["conditions"]] == ["Accepted"]


def test_equal_parts_are_equal_whatever_others_wrote_and_when() -> None:
    one = {"parents": [parent(US), parent(US, "second")]}
    other = {"parents": [parent(THEM), dated(parent(US, "second"), THEN), dated(parent(US), THEN)]}
    assert own_part(ROUTE, one, OURS) == own_part(ROUTE, other, OURS)
    assert own_part(ROUTE, {"parents": [parent(US, status="False")]}, OURS) != own_part(ROUTE, one, OURS)
    assert own_part(ROUTE, None, OURS) == own_part(ROUTE, {"parents": [parent(THEM)]}, OURS)
    assert own_part(ROUTE, "nonsense", OURS) == own_part(ROUTE, {"parents": "nonsense"}, OURS)


def test_pools_of_the_old_group_have_parents_without_a_controller() -> None:
    default = {
        "parentRef": {"kind": "Status", "name": "default"},
        "conditions": [condition("Accepted", "Unknown")],
    }
    foreign = {"parentRef": {"kind": "Gateway", "name": "theirs", "namespace": "infra"}, "conditions": []}
    desired = wanted(OLD_POOL, {"parents": [parent(US)]})
    patch = merged(OLD_POOL, {"parent": [default, foreign]}, desired, OURS, NOW)
    mine = {key: value for key, value in dated(parent(US), NOW).items() if key != "controllerName"}
    assert patch == {"parent": [foreign, mine]}
    assert own_part(OLD_POOL, patch, OURS) == own_part(OLD_POOL, desired, OURS)


IMPORT = Identity("InferencePoolImport", "default", "p", "inference.networking.x-k8s.io")


def test_an_import_has_an_entry_of_each_controller() -> None:
    hub = {"name": THEM, "exportingClusters": [{"name": "east"}], "conditions": [condition("Accepted")]}
    ours = {"name": US, "parents": [parent(US)]}
    first = merged(IMPORT, {"controllers": [hub]}, {"controllers": [ours]}, OURS, THEN)
    assert first == {"controllers": [hub, {"name": US, "parents": [dated(parent(US), THEN)]}]}
    again = merged(IMPORT, first, {"controllers": [ours]}, OURS, NOW)
    assert again == first
    two = {"name": US, "parents": [parent(US), parent(US, "more")]}
    both = merged(IMPORT, first, {"controllers": [two]}, OURS, NOW)["controllers"][1]["parents"]
    assert both == [dated(parent(US), THEN), dated(parent(US, "more"), NOW)]
    assert merged(IMPORT, first, {"controllers": []}, OURS, NOW) == {"controllers": [hub]}
    part = own_part(IMPORT, {"controllers": [ours]}, OURS)
    assert own_part(IMPORT, first, OURS) == part != own_part(IMPORT, {"controllers": [hub]}, OURS)
