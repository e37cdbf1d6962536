"""References to backends: kinds, ReferenceGrants, and what each kind leads to."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.gateway import ir
from headgate.gateway.api import Unresolved
from headgate.gateway.plan import backend_refs
from headgate.model.endpoints import Endpoint
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import BackendRef
from headgate.model.store import Store

INFERENCE, OURS = "inference.networking.k8s.io", "headgate.dev"

WEB = manifest.manifest("Service", "web", {"ports": [{"port": 80}, {"port": 81, "appProtocol": "http2"}]})
WEB_SLICE: Manifest = {
    "apiVersion": "discovery.k8s.io/v1",
    "kind": "EndpointSlice",
    "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web"}},
    "addressType": "IPv4",
    "ports": [{"port": 8080}],
    "endpoints": [
        {"addresses": ["10.0.0.1"]},
        {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
    ],
}


def refs(*objects: Manifest) -> Store:
    return world(manifest.snapshot(*objects))


def resolve(found: Store, kind: str, name: str, source: str = "default", **ref: Any) -> Any:
    """What an HTTPRoute of namespace *source* gets."""
    route = Identity("HTTPRoute", source, "routes", GATEWAY_GROUP)
    return backend_refs.resolve(found, route, BackendRef(name=name, kind=kind, **ref))


def endpoints(found: Store, cluster: str) -> list[str]:
    prefix, _, rest = cluster.partition("/")
    some: tuple[Endpoint, ...] = backend_refs.by_prefix()[prefix].endpoints(found, rest)
    return [each.id for each in some]


def reason(found: ir.Backend | Unresolved) -> str:
    assert isinstance(found, Unresolved), found
    return found.reason


def test_a_pool_of_either_group_is_found_by_name() -> None:
    found = refs(manifest.pool("llm"), manifest.model_server("one", "10.0.0.9:8000", app="llm"))
    for group in (INFERENCE, "inference.networking.x-k8s.io"):
        target = resolve(found, "InferencePool", "llm", group=group, port=1)
        assert isinstance(target, ir.PoolBackend)
        assert endpoints(found, target.cluster) == ["10.0.0.9:8000"]
    assert reason(resolve(found, "InferencePool", "other", group=INFERENCE)) == "BackendNotFound"


def test_a_service_gives_its_ready_addresses_on_the_port() -> None:
    found = refs(WEB, WEB_SLICE)
    target = resolve(found, "Service", "web", port=80)
    assert target == ir.HostsBackend("service/default/web:80")
    assert endpoints(found, target.cluster) == ["10.0.0.1:8080"]
    assert resolve(found, "Service", "web", port=81).protocol == "h2c"


@pytest.mark.parametrize(
    ("name", "port", "expected"),
    [("web", 82, "BackendNotFound"), ("nobody", 80, "BackendNotFound"), ("alias", 80, "UnsupportedValue")],
)
def test_a_service_that_cannot_serve_says_why(name: str, port: int, expected: str) -> None:
    alias = manifest.manifest("Service", "alias", {"type": "ExternalName", "ports": [{"port": 80}]})
    assert reason(resolve(refs(WEB, WEB_SLICE, alias), "Service", name, port=port)) == expected


def test_a_model_server_is_a_backend_by_itself() -> None:
    found = refs(manifest.model_server("one", "10.0.0.9:8000", app="llm"))
    target = resolve(found, "ModelServer", "one", group=OURS)
    assert target == ir.HostsBackend("server/default/one")
    assert endpoints(found, target.cluster) == ["10.0.0.9:8000"]
    assert reason(resolve(found, "ModelServer", "two", group=OURS)) == "BackendNotFound"


def test_an_unknown_kind_is_told_the_known_ones() -> None:
    unresolved = resolve(refs(), "Bucket", "b", group="storage.example")
    assert reason(unresolved) == "InvalidKind"
    assert f"{INFERENCE}/InferencePool" in unresolved.message
    assert reason(resolve(refs(), "ConfigMap", "c")) == "InvalidKind"


def grant(kind: str = "InferencePool", group: str = INFERENCE, **more: Any) -> Manifest:
    """Lets HTTPRoutes of `team` refer to things of `shared`."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "g", "namespace": "shared"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "team"}],
            "to": [{"group": group, "kind": kind, **more}],
        },
    }


@pytest.mark.parametrize(
    ("grants", "source", "permitted"),
    [
        ([], "team", False),
        ([], "shared", True),
        ([grant()], "team", True),
        ([grant(name="llm")], "team", True),
        ([grant(name="other")], "team", False),
        ([grant()], "strangers", False),
        ([grant("Service", "")], "team", False),
    ],
)
def test_another_namespace_must_grant(grants: list[Manifest], source: str, permitted: bool) -> None:
    pool = manifest.pool("llm")
    pool["metadata"]["namespace"] = "shared"
    target = resolve(refs(pool, *grants), "InferencePool", "llm", source, group=INFERENCE, namespace="shared")
    assert isinstance(target, ir.PoolBackend) if permitted else reason(target) == "RefNotPermitted"


X_GROUP = "inference.networking.x-k8s.io"


def exported(name: str, value: str = "ClusterSet") -> Manifest:
    found = manifest.pool(name)
    found["metadata"]["annotations"] = {f"{X_GROUP}/export": value}
    return found


def pool_import(name: str, *clusters: str) -> Manifest:
    controller = {"name": "example.com/hub", "exportingClusters": [{"name": each} for each in clusters]}
    return {
        "apiVersion": f"{X_GROUP}/v1alpha1",
        "kind": "InferencePoolImport",
        "metadata": {"name": name},
        "status": {"controllers": [controller]},
    }


def test_an_import_leads_to_the_exported_pool_of_its_name() -> None:
    found = refs(
        exported("llm"), pool_import("llm", "here"), manifest.model_server("one", "10.0.0.9:8000", "llm")
    )
    imported = resolve(found, "InferencePoolImport", "llm", group=X_GROUP)
    assert imported == resolve(found, "InferencePool", "llm", group=INFERENCE)
    assert endpoints(found, imported.cluster) == ["10.0.0.9:8000"]


@pytest.mark.parametrize(
    ("objects", "words"),
    [
        ([], ["there is no InferencePoolImport default/llm"]),
        ([exported("llm")], ["there is no InferencePoolImport default/llm"]),
        ([pool_import("llm", "b", "a")], ["of clusters a, b", "ModelServer"]),
        ([pool_import("llm", *"gfedcba")], ["a, b, c, d, e, …"]),
        ([pool_import("llm")], ["no cluster yet"]),
        ([pool_import("llm", "a"), exported("other")], ["of clusters a"]),
        ([pool_import("llm", "a"), manifest.pool("llm")], ["not exported", f"{X_GROUP}/export: ClusterSet"]),
        ([pool_import("llm", "a"), exported("llm", "Region")], ["not exported"]),
    ],
)
def test_an_import_without_a_pool_in_reach(objects: list[Manifest], words: list[str]) -> None:
    found = resolve(refs(*objects), "InferencePoolImport", "llm", group=X_GROUP)
    assert reason(found) == "BackendNotFound"
    assert all(each in found.message for each in words), found.message


def test_an_import_of_another_namespace_needs_a_grant() -> None:
    found = refs(exported("llm"), pool_import("llm", "here"))
    wanted = {"group": X_GROUP, "namespace": "default"}
    assert reason(resolve(found, "InferencePoolImport", "llm", "other", **wanted)) == "RefNotPermitted"
