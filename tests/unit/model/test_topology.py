"""Pools from objects: endpoints, pickers, model rules."""

from typing import Any

import pytest
from msgspec.structs import replace
from tests.resolved import resolve_pools, world

from headgate.manifests.decode import decode
from headgate.model import pickers, topology
from headgate.model.change import Change
from headgate.model.endpoints import ModelRule, Pool, TargetModel
from headgate.model.forbidden import Own
from headgate.model.ids import PoolKey
from headgate.model.meta import INFERENCE_GROUP, Identity
from headgate.model.objects import EndpointSlice, InferencePool, Object
from headgate.model.objects.kubernetes import EndpointConditions
from headgate.model.pickers import picker_addresses, picker_notes
from headgate.model.problems import Problem
from headgate.model.snapshot import Snapshot
from headgate.model.store import Store
from headgate.model.topology import (
    TOOLS_FIRST,
    pool_endpoints,
    pool_settings,
    resolved,
)

VERSIONS = {
    "InferencePool": "inference.networking.k8s.io/v1",
    "InferenceModel": "inference.networking.x-k8s.io/v1alpha2",
    "InferenceObjective": "llm-d.ai/v1alpha2",
    "ModelServer": "headgate.dev/v1alpha1",
    "EndpointSlice": "discovery.k8s.io/v1",
}


def make(kind: str, name: str, meta: dict[str, Any] | None = None, **body: Any) -> dict[str, Any]:
    metadata = {"name": name, **(meta or {})}
    return {"apiVersion": VERSIONS.get(kind, "v1"), "kind": kind, "metadata": metadata, **body}


def pool(**spec: Any) -> dict[str, Any]:
    ref = {"name": "picker", "port": {"number": 9002}}
    given = {
        "selector": {"matchLabels": {"app": "llm"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": ref,
    }
    return make("InferencePool", "llm", spec={**given, **spec})


def pod(name: str, ip: str, status: dict[str, Any] | None = None, **meta: Any) -> dict[str, Any]:
    return make("Pod", name, {"labels": {"app": "llm"}, **meta}, status={"podIP": ip, **(status or {})})


def server(name: str, url: str) -> dict[str, Any]:
    return make("ModelServer", name, {"labels": {"app": "llm"}}, spec={"url": url})


def objects_of(*raw: dict[str, Any]) -> tuple[Object, ...]:
    decoded = [decode(each, "", lambda _: 0) for each in raw]
    assert not [problem for each in decoded for problem in each.problems]
    return tuple(each.object for each in decoded if each.object is not None)


def stored(*raw: dict[str, Any]) -> Store:
    return world(Snapshot(objects_of(*raw)))


def resolve(
    *raw: dict[str, Any],
    addresses: dict[str, tuple[str, ...]] | None = None,
    own: Own = Own(),  # noqa: B008 - frozen
) -> tuple[Pool, list[Problem]]:
    pools, problems = resolve_pools(Snapshot(objects_of(*raw), addresses or {}, own=own))
    [only] = pools
    return only, list(problems)


def ids(found: Pool) -> list[str]:
    return [str(each.id) for each in found.endpoints]


def test_ready_pods_times_target_ports() -> None:
    condition = {"conditions": [{"type": "Ready", "status": "False"}]}
    found, problems = resolve(
        pool(targetPorts=[{"number": 8000}, {"number": 8001}]),
        pod("b", "10.0.0.2"),
        pod("a", "10.0.0.1", annotations={"inference.networking.k8s.io/active-ports": "8001, 9999"}),
        pod("v6", "fd00::1", {"conditions": [{"type": "Ready", "status": "True"}]}),
        pod("unready", "10.0.0.3", condition),
        pod("leaving", "10.0.0.4", deletionTimestamp="2026-01-01T00:00:00Z"),
        pod("other-labels", "10.0.0.5", labels={"app": "web"}),
        pod("elsewhere", "10.0.0.6", namespace="other"),
    )
    assert ids(found) == [
        "10.0.0.1:8001",
        "10.0.0.2:8000",
        "10.0.0.2:8001",
        "[fd00::1]:8000",
        "[fd00::1]:8001",
    ]
    assert problems == []


def test_the_newer_name_of_the_active_ports_counts_first() -> None:
    both = {"llm-d.ai/active-ports": "8000", "inference.networking.k8s.io/active-ports": "8001"}
    ports = pool(targetPorts=[{"number": 8000}, {"number": 8001}])
    found, problems = resolve(ports, pod("a", "10.0.0.1", annotations=both))
    assert (ids(found), problems) == (["10.0.0.1:8000"], [])
    found, [problem] = resolve(ports, pod("a", "10.0.0.1", annotations={"llm-d.ai/active-ports": "all"}))
    assert len(ids(found)) == 2
    assert problem.place.field == "metadata.annotations.llm-d.ai/active-ports"


def test_model_servers_by_address_and_by_name() -> None:
    found, problems = resolve(
        pool(),
        server("ip", "http://10.0.0.1:9500"),
        server("name", "https://llm.example"),
        server("gone", "http://gone.example"),
        server("path", "http://10.0.0.2/v1"),
        addresses={"llm.example": ("10.0.1.2", "10.0.1.1")},
    )
    assert ids(found) == ["10.0.0.1:9500", "10.0.1.1:443", "10.0.1.2:443"]
    assert (found.endpoints[1].scheme, found.endpoints[1].hostname) == ("https", "llm.example")
    assert [(each.reason, each.severity) for each in problems] == [
        ("HostNotResolved", "warning"),
        ("InvalidURL", "error"),
    ]


def test_an_address_that_no_backend_may_have_is_left_out_and_named() -> None:
    found, problems = resolve(
        pool(),
        pod("fine", "10.0.0.1"),
        pod("strange", "169.254.0.7"),
        server("fine", "http://127.0.0.1:9500"),
        server("admin", "http://127.0.0.1:15000"),
        server("metadata", "http://meta.example"),
        addresses={"meta.example": ("169.254.169.254", "10.0.0.2")},
        own=Own(frozenset({15000})),
    )
    assert ids(found) == ["10.0.0.1:8000", "10.0.0.2:80", "127.0.0.1:9500"]
    told = {str(each.place): (each.reason, each.message.partition(" is ")[0]) for each in problems}
    assert told == {
        "ModelServer default/admin spec.url": ("ForbiddenAddress", "127.0.0.1:15000"),
        "ModelServer default/metadata spec.url": ("ForbiddenAddress", "169.254.169.254:80 (meta.example)"),
        "Pod default/strange status.podIP": ("ForbiddenAddress", "169.254.0.7:8000"),
    }


def test_an_empty_pool_is_a_warning() -> None:
    found, [problem] = resolve(pool())
    assert found.endpoints == () and (problem.reason, problem.severity) == ("NoEndpoints", "warning")


def picker_service(**annotations: str) -> list[dict[str, Any]]:
    labels = {"kubernetes.io/service-name": "picker"}
    return [
        make(
            "Service",
            "picker",
            {"annotations": annotations},
            spec={"ports": [{"name": "grpc", "port": 9002}]},
        ),
        make(
            "EndpointSlice",
            "picker-1",
            {"labels": labels},
            addressType="IPv4",
            ports=[{"name": "grpc", "port": 19002}, {"name": "metrics", "port": 9090}],
            endpoints=[
                {"addresses": ["10.0.9.1"]},
                {"addresses": ["10.0.9.2"], "conditions": {"ready": False}},
            ],
        ),
    ]


def test_a_picker_that_is_written_is_foreign() -> None:
    objects = (pool(), pod("a", "10.0.0.1"), *picker_service())
    found, _ = resolve(*objects)
    assert found.picker is not None
    assert (found.picker.service, found.picker.tls) == ("default/picker:9002", True)
    assert picker_addresses(stored(*objects), found.picker.service) == ("10.0.9.1:19002",)
    found, _ = resolve(pool(), pod("a", "10.0.0.1"), *picker_service(**{"headgate.dev/picker-tls": "false"}))
    assert found.picker is not None and not found.picker.tls


MODE = "headgate.dev/picker-body-mode"


def test_how_a_foreign_picker_takes_bodies_is_said_by_the_pool_its_service_or_the_gateway() -> None:
    key = PoolKey("default/llm")

    def mode(world: Store) -> str:
        found = world.get(topology.foreign_picker, key)
        assert found is not None
        return found.body_mode

    plain = (pool(), *picker_service())
    assert mode(stored(*plain)) == "full-duplex"
    world = stored(*plain)
    world.set("settings", "picker_body_mode", "streamed")
    assert mode(world) == "streamed"
    world.set(pickers.PICKER_MODES, "default/picker:9002", "full-duplex")
    assert mode(world) == "full-duplex", "what was found out counts before what is assumed"
    said = stored(pool(), *picker_service(**{MODE: "streamed"}))
    assert mode(said) == "streamed"
    annotated = pool()
    annotated["metadata"]["annotations"] = {MODE: "full-duplex"}
    assert mode(stored(annotated, *picker_service(**{MODE: "streamed"}))) == "full-duplex"
    assert mode(stored(pool(), *picker_service(**{MODE: "telepathy"}))) == "full-duplex"


def test_on_a_cluster_a_picker_that_is_not_there_is_missing() -> None:
    world = stored(pool(), pod("a", "10.0.0.1"))
    world.set("settings", "cluster", True)
    found = world.get(topology.foreign_picker, PoolKey("default/llm"))
    assert found is not None and found.service == "default/picker:9002"
    identity = world.kind(InferencePool)[0]
    assert "InvalidExtensionRef" in {each.reason for each in world.get(topology.pool_problems, identity)}


def test_a_pool_that_names_no_picker_serves_nothing_without_ours() -> None:
    bare = pool()
    del bare["spec"]["endpointPickerRef"]
    found, _ = resolve(bare, server("one", "http://10.0.0.1:8000"))
    assert (found.picker, found.failure_mode) == (None, "FailClose")


def test_a_foreign_picker_that_is_not_ready_is_not_replaced() -> None:
    service, addresses = picker_service()
    for each in addresses["endpoints"]:
        each["conditions"] = {"ready": False}
    found, problems = resolve(pool(), pod("a", "10.0.0.1"), service, addresses)
    assert found.picker is not None and found.picker.service == "default/picker:9002"
    assert [(each.reason, each.severity) for each in problems] == [("PickerNotReady", "warning")]


def test_a_picker_that_is_nowhere_written_to_run_is_ours() -> None:
    service, _ = picker_service()
    found, problems = resolve(pool(), pod("a", "10.0.0.1"), service)
    assert found.picker is None and problems == []
    found, [problem] = resolve(
        pool(endpointPickerRef={"name": "picker", "port": {"number": 1}}), pod("a", "10.0.0.1"), service
    )
    assert found.picker is None and problem.reason == "InvalidExtensionRef"


NOT_A_SERVICE = {"group": "example.com", "kind": "Chooser", "name": "picker", "port": {"number": 9002}}
ELSEWHERE = {"name": "picker", "port": {"number": 1}}


@pytest.mark.parametrize(
    ("ref", "objects", "said"),
    [
        (None, [], "there is no Service default/picker"),
        (None, picker_service()[:1], "has no ready address"),
        (ELSEWHERE, picker_service(), "Service picker has no TCP port 1"),
        (NOT_A_SERVICE, picker_service(), "must be a Service, not example.com/Chooser"),
    ],
    ids=["no Service", "no slice", "no port", "no Service at all"],
)
def test_on_a_cluster_whoever_is_named_picks_though_he_is_not_there(
    ref: dict[str, Any] | None, objects: list[dict[str, Any]], said: str
) -> None:
    asked = pool() if ref is None else pool(endpointPickerRef=ref)
    found = stored(asked, pod("a", "10.0.0.1"), *objects)
    found.set("settings", "cluster", True)
    [one], [problem] = resolved(found)
    assert one.picker is not None
    assert picker_addresses(found, one.picker.service) == ()
    assert said in problem.message and "failureMode FailClose decides" in problem.message
    expected = "PickerNotReady" if "ready" in said else "InvalidExtensionRef"
    assert problem.reason == expected
    assert list(picker_notes(found, Identity("InferencePool", "default", "llm", INFERENCE_GROUP))) == []


@pytest.mark.parametrize("cluster", [True, False])
def test_our_own_picker_is_known_by_its_name(cluster: bool) -> None:
    def picks(name: str, *own: str) -> bool:
        ref = {"name": name, "port": {"number": 9002}}
        found = stored(pool(endpointPickerRef=ref), pod("a", "10.0.0.1"), *picker_service())
        found.set("settings", "cluster", cluster)
        if own:
            found.set("settings", "own_picker_names", own)
        [one], problems = resolved(found)
        assert name not in (own or ["headgate-picker"]) or problems == ()
        return one.picker is None

    assert picks("headgate-picker") and not picks("picker")
    assert picks("picker", "mine", "picker") and picks("headgate-picker", "mine") is not cluster


def test_a_service_in_the_files_has_its_pools_while_it_is_written_to_run() -> None:
    def told() -> tuple[bool, int]:
        each = found.get(pool_settings, PoolKey("default/llm"))
        assert each is not None
        return each.picker is not None, found.runs

    found = stored(pool(), pod("a", "10.0.0.1"))
    service, addresses = (objects_of(each)[0] for each in picker_service())
    assert isinstance(addresses, EndpointSlice)
    assert told()[0] is False
    found.apply([Change(each.identity, each) for each in (service, addresses)])
    foreign, runs = told()
    assert foreign
    unready = tuple(replace(each, conditions=EndpointConditions(ready=False)) for each in addresses.endpoints)
    for endpoints in (unready, (), addresses.endpoints):
        found.apply([Change(addresses.identity, replace(addresses, endpoints=endpoints))])
        assert told() == (True, runs), "whether it is alive is not even looked at"
    found.apply([Change(addresses.identity, None)])
    assert told()[0] is False


def test_a_selector_looks_at_what_it_nearly_finds() -> None:
    """Every pod has the label `app`, but no pool depends on who else has it."""
    pods = [
        pod(f"p{number}", f"10.0.0.{number}", labels={"app": "llm", "of": f"x{number}"})
        for number in range(9)
    ]
    wanted = {"matchLabels": {"app": "llm", "of": "x3"}}
    world = stored(pool(selector=wanted), *pods)
    key = PoolKey("default/llm")
    assert [each.name for each in world.get(pool_endpoints, key)] == ["p3"]
    runs = world.runs

    def changed(name: str, **labels: str) -> list[str]:
        [each] = objects_of(pod(name, f"10.0.1.{ord(name[-1])}", labels=labels))
        world.apply([Change(each.identity, each)])
        return [each.name for each in world.get(pool_endpoints, key)]

    assert changed("p5", app="llm", of="x9") == changed("new", app="llm", of="x9") == ["p3"]
    assert changed("p5", of="x5") == ["p3"]
    assert world.runs == runs
    assert changed("p5", app="llm", of="x3") == ["p3", "p5"]
    assert changed("p3", of="x3") == ["p5"]
    assert changed("p3", app="llm", of="x3", more="1") == ["p3", "p5"]
    assert changed("p5", app="llm", of="x4") == ["p3"]


def model(name: str, model_name: str, created: str | None = None, **spec: Any) -> dict[str, Any]:
    meta = {"creationTimestamp": created} if created else {}
    return make(
        "InferenceModel", name, meta, spec={"modelName": model_name, "poolRef": {"name": "llm"}, **spec}
    )


def test_models_with_tools_before_the_system_text_are_named_on_the_pool() -> None:
    found, _ = resolve({**pool(), "metadata": {"name": "llm", "annotations": {TOOLS_FIRST: "a, b ,,org/c"}}})
    assert found.tools_first == {"a", "b", "org/c"}
    assert resolve(pool())[0].tools_first == frozenset()


def test_the_oldest_model_object_wins_a_name() -> None:
    found, problems = resolve(
        pool(),
        pod("a", "10.0.0.1"),
        model("timeless", "chat"),
        model("young", "chat", "2026-02-01T00:00:00Z"),
        model("old", "chat", "2026-01-01T00:00:00Z", criticality="Sheddable"),
        model(
            "tuned",
            "tuned",
            criticality="Critical",
            targetModels=[{"name": "t1", "weight": 0}, {"name": "t2", "weight": 3}],
        ),
    )
    assert found.models == (
        ModelRule("chat", "default/old", -1, (TargetModel("chat", 1),)),
        ModelRule("tuned", "default/tuned", 1, (TargetModel("t1", 0), TargetModel("t2", 3))),
    )
    assert [(each.reason, each.place.object) for each in problems] == [
        ("ModelNameInUse", "InferenceModel default/timeless"),
        ("ModelNameInUse", "InferenceModel default/young"),
    ]


def test_objectives_belong_to_their_pool() -> None:
    def objective(name: str, of: str) -> dict[str, Any]:
        return make("InferenceObjective", name, spec={"priority": 5, "poolRef": {"name": of}})

    found, _ = resolve(pool(), pod("a", "10.0.0.1"), objective("gold", "llm"), objective("other", "another"))
    assert found.objectives == {"gold": 5}


def test_a_server_that_drains_is_in_no_pool() -> None:
    first, second = server("a", "http://10.0.0.1:80"), server("b", "http://10.0.0.2:80")
    first["spec"]["drain"] = True
    found, problems = resolve(pool(), first, second)
    assert ids(found) == ["10.0.0.2:80"]
    assert not problems
    second["spec"]["drain"] = True
    found, problems = resolve(pool(), first, second)
    assert ids(found) == []
    assert "ModelServer a has its labels, but spec.drain is true" in problems[0].message
