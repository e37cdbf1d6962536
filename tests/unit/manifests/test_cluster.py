"""Manifests of a plain machine as a cluster takes them."""

from typing import Any

from tests import manifests as manifest
from tests.manifests import Manifest

from headgate.manifests.cluster import Exported, Key


def exported(
    *documents: Manifest, own: tuple[Key, ...] = (), clients: tuple[tuple[str, str], ...] = (), **more: Any
) -> Exported:
    given = {"secrets": {}, "api_keys": {}, **more}
    return Exported(documents, own_pools=frozenset(own), clients=clients, **given)


def test_objects_stay_as_they_are_written_and_say_their_namespace() -> None:
    made = manifest.route(manifest.rule("fit"))
    made["metadata"] |= {"uid": "1", "resourceVersion": "7"}
    made["status"] = {"parents": []}
    [found] = exported(made).documents
    assert found["spec"] == made["spec"]
    assert found["metadata"] == {"name": made["metadata"]["name"], "namespace": "default"}
    assert "status" not in found


def test_pools_of_the_own_picker_name_its_service() -> None:
    pool = manifest.pool("fit")
    pool["spec"]["endpointPickerRef"] = {"name": "epp", "port": {"number": 1}, "failureMode": "FailOpen"}
    [ours] = exported(pool, own=(("default", "fit"),)).documents
    assert ours["spec"]["endpointPickerRef"] == {
        "name": "headgate-picker",
        "port": {"number": 9002},
        "failureMode": "FailOpen",
    }
    [theirs] = exported(pool).documents
    assert theirs["spec"] == pool["spec"]


def test_files_become_secrets() -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "tls"},
        "stringData": {"tls.key": "file:/etc/key", "other": "x"},
    }
    server = manifest.model_server("s", "https://gpu.example:8000", "a")
    server["spec"]["apiKey"] = {"file": "/etc/api-key"}
    found = exported(
        server,
        secret,
        secrets={("default", "tls"): {"tls.key": "KEY", "other": "x"}},
        api_keys={("default", "s"): "sk-1"},
    )
    key, tls, made = found.documents
    assert (key["metadata"]["name"], key["stringData"]) == ("s-api-key", {"key": "sk-1"})
    assert tls["stringData"] == {"tls.key": "KEY", "other": "x"}
    assert made["spec"]["apiKey"] == {"secretRef": {"name": "s-api-key", "key": "key"}}
    assert found.problems == []


def test_what_a_cluster_cannot_have_is_said() -> None:
    server = manifest.model_server("s", "http://localhost:8000", "a")
    server["spec"]["tls"] = {"caFile": "/etc/ca.pem"}
    assert [(each.reason, each.place.field) for each in exported(server).problems] == [
        ("LoopbackAddress", "spec.url"),
        ("FileOfThisMachine", "spec.tls.caFile"),
    ]


def test_namespaces_are_made_and_come_first() -> None:
    gate = manifest.gateway()
    gate["metadata"]["namespace"] = "team-a"
    first, _ = exported(gate).documents
    assert first == {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a"}}
    there = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team-a", "labels": {"a": "b"}}}
    assert [each["kind"] for each in exported(gate, there).documents] == ["Namespace", "Gateway"]


def test_clients_become_a_policy_of_each_gateway_that_has_none() -> None:
    one, two = manifest.gateway("one"), manifest.gateway("two")
    policy = {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "AccessPolicy",
        "metadata": {"name": "p"},
        "spec": {
            "targetRefs": [{"kind": "Gateway", "name": "two"}],
            "apiKeys": {"secretRefs": [{"name": "k"}]},
        },
    }
    secret, second, *_, made = exported(
        one, two, policy, clients=(("a", "sk-a"), ("b", "sk-b"), ("a", "sk-2"))
    ).documents
    assert secret["stringData"] == {"a": "sk-a", "b": "sk-b"} and second["stringData"] == {"a": "sk-2"}
    assert made["kind"] == "AccessPolicy"
    assert made["spec"]["targetRefs"] == [{"kind": "Gateway", "name": "one"}]
    assert made["spec"]["apiKeys"] == {
        "secretRefs": [{"name": each["metadata"]["name"]} for each in (secret, second)]
    }
