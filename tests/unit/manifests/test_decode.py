"""Decoding: what is right, what is wrong and where, what passes in silence."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from headgate.manifests.decode import Decoded, decode, decode_all
from headgate.manifests.schema import KINDS
from headgate.model.objects import HTTPRoute, Identity, InferencePool, InferencePoolX, Pod

LINES = {
    (): 1,
    ("spec",): 4,
    ("spec", "targetPorts"): 5,
    ("spec", "targetPorts", 0): 6,
    ("spec", "selector"): 8,
}


def line_of(path: tuple[str | int, ...]) -> int:
    """The line of the path, or of its nearest ancestor."""
    while path and path not in LINES:
        path = path[:-1]
    return LINES[path]


def read(text: str) -> Decoded:
    return decode(yaml.safe_load(text), "pool.yaml", line_of)


def pool(**changed: Any) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "selector": {"matchLabels": {"app": "llm"}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "picker", "port": {"number": 9002}},
    }
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": "llm"},
        "spec": spec | changed,
    }


def test_a_pool_has_the_defaults_of_its_crd() -> None:
    found = decode(pool(), "pool.yaml", line_of)
    assert not found.problems
    assert isinstance(found.object, InferencePool)
    assert found.identity == Identity("InferencePool", "default", "llm", "inference.networking.k8s.io")
    assert found.object.spec.app_protocol == "http"
    assert found.object.spec.endpoint_picker_ref is not None
    assert found.object.spec.endpoint_picker_ref.failure_mode == "FailClose"


def test_v1alpha2_becomes_the_same_shape() -> None:
    found = read(
        """
        apiVersion: inference.networking.x-k8s.io/v1alpha2
        kind: InferencePool
        metadata: {name: old, namespace: ns}
        spec: {selector: {app: llm}, targetPortNumber: 8000, extensionRef: {name: picker}}
        """
    )
    assert isinstance(found.object, InferencePoolX) and not found.problems
    assert found.object.spec.selector.match_labels == {"app": "llm"}
    assert [port.number for port in found.object.spec.target_ports] == [8000]
    ref = found.object.spec.endpoint_picker_ref
    assert ref is not None and ref.port is not None and ref.port.number == 9002


@pytest.mark.parametrize(
    ("changed", "field", "line", "says"),
    [
        (
            {"targetPorts": [{"number": 80000}]},
            "spec.targetPorts[0].number",
            6,
            "from 1 to 65535, not the number 80000",
        ),
        ({"targetPorts": [{}]}, "spec.targetPorts[0].number", 6, "number is required"),
        ({"targetPorts": []}, "spec.targetPorts", 5, "must not be empty"),
        ({"targetPorts": [{"number": 1}, {"number": 1}]}, "spec.targetPorts[1].number", 5, "unique"),
        ({"selector": {"matchLabels": {}}}, "spec.selector.matchLabels", 8, "must not be empty"),
        ({"appProtocol": "grpc"}, "spec.appProtocol", 4, "grpc"),
        ({"endpointPickerRef": {"name": "x"}}, "spec.endpointPickerRef.port", 4, "port is required"),
    ],
)
def test_a_wrong_value_is_an_error_with_its_place(
    changed: dict[str, Any], field: str, line: int, says: str
) -> None:
    found = decode(pool(**changed), "pool.yaml", line_of)
    [problem] = found.problems
    assert found.object is None and found.identity is not None
    assert (problem.severity, problem.reason) == ("error", "InvalidValue")
    assert (problem.place.file, problem.place.line, problem.place.field) == ("pool.yaml", line, field)
    assert problem.place.object == "InferencePool default/llm"
    assert says in problem.message


def test_a_misspelt_field_is_a_warning_with_the_near_one() -> None:
    found = decode(pool(targetPort=[]), "pool.yaml", line_of)
    [problem] = found.problems
    assert found.object is not None
    assert (problem.severity, problem.place.field) == ("warning", "spec.targetPort")
    assert "did you mean targetPorts?" in problem.message


def test_a_field_that_is_not_supported_yet_is_not_called_unknown() -> None:
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}}
    [problem] = decode({**raw, "spec": {"useDefaultGateways": "All"}}, "", line_of).problems
    assert (problem.reason, problem.place.field) == ("UnsupportedField", "spec.useDefaultGateways")


def test_what_counts_on_a_cluster_only_is_called_so() -> None:
    spec = {
        "gatewayClassName": "headgate",
        "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        "infrastructure": {"labels": {"team": "a"}},
    }
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g"}}
    found = decode({**raw, "spec": spec}, "", line_of)
    [problem] = found.problems
    assert found.object is not None and problem.severity == "warning"
    assert (problem.reason, problem.place.field) == ("ClusterOnly", "spec.infrastructure")


def test_a_config_map_may_hold_templates() -> None:
    raw = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "chat"}}
    found = decode({**raw, "data": {"template.jinja": "{{ messages }}"}}, "", line_of)
    assert found.object is not None and not found.problems


@pytest.mark.parametrize(
    ("api", "kind", "reason"),
    [
        ("apps/v1", "Deployment", None),
        ("v1", "ReplicationController", None),
        ("networking.istio.io/v1", "Gateway", None),
        ("serving.knative.dev/v1", "Service", None),
        ("gateway.networking.k8s.io/v1", "TCPRoute", "UnsupportedKind"),
        ("gateway.networking.k8s.io/v1", "HTTPRouter", "UnknownKind"),
        ("gateway.networking.k8s.io/v2", "HTTPRoute", "UnknownVersion"),
        ("gateway.networkin.k8s.io/v1", "HTTPRoute", "UnknownGroup"),
        ("gateway.networkin.k8s.io/v1", "HTPRoute", "UnknownGroup"),
        ("gateway.networking.k8s.io", "HTTPRoute", "UnknownVersion"),
        ("gateway.networking.k8s.io/1", "HTTPRoute", "UnknownVersion"),
        ("networking.k8s.io/v1", "HTTPRoute", "UnknownGroup"),
        ("networking.k8s.io/v1", "Ingress", None),
        ("policy.linkerd.io/v1beta3", "HTTPRoute", None),
        ("gateway.networking.x-k8s.io/v1alpha1", "XListenerSet", "UnsupportedKind"),
        ("llmd.ai/v1alpha1", "VariantAutoscaling", None),
        ("discovery.k8s.io/v1beta1", "EndpointSlice", "UnknownVersion"),
        ("v1", "HTTPRoute", "UnknownGroup"),
        ("v2", "Service", "UnknownGroup"),
        ("apps/v1", "Pod", "UnknownGroup"),
        ("v1", "Servce", "UnknownKind"),
        ("v1", "pod", "UnknownKind"),
        ("v1", "Lst", "UnknownKind"),
        ("v1", "ServiceAccount", None),
        ("v1", "Endpoints", None),
        ("v1", "Config", "UnknownKind"),
        ("example.com/v1", "Foo", None),
    ],
)
def test_kinds_that_are_not_read(api: str, kind: str, reason: str | None) -> None:
    found = decode({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}}, "", line_of)
    assert found.object is None
    assert [problem.reason for problem in found.problems] == ([reason] if reason else [])
    assert found.may_be_any is (reason is not None and reason != "UnsupportedKind")


@pytest.mark.parametrize(
    ("api", "kind", "hint"),
    [
        ("gateway.networking.k8s.io/v1", "HTPRoute", "did you mean HTTPRoute?"),
        ("gateway.networking.k8s.io/v1", "httproute", "did you mean HTTPRoute?"),
        ("Gateway.Networking.k8s.io/v1", "HTTPRoute", "did you mean gateway.networking.k8s.io?"),
        ("v1", "HTTPRoute", "did you mean HTTPRoute of gateway.networking.k8s.io/v1?"),
        ("v1", "Servce", "did you mean Service?"),
        ("inference.networking.k8s.io/v1alpha2", "InferencePool", "write apiVersion: inference.networking"),
    ],
)
def test_the_near_word_is_named(api: str, kind: str, hint: str) -> None:
    [problem] = decode({"apiVersion": api, "kind": kind, "metadata": {"name": "x"}}, "", line_of).problems
    assert hint in problem.message


@pytest.mark.parametrize(("api", "kind"), sorted(KINDS))
def test_no_slip_of_one_letter_makes_an_object_of_ours_one_of_others(api: str, kind: str) -> None:
    for at in range(len(api) + len(kind)):
        for letter in ("", "x", "/", ".", "A"):
            for rest in (at, at + 1):
                text = f"{api}{kind}"
                edited = text[:at] + letter + text[rest:]
                border = len(api) + (len(edited) - len(text) if at < len(api) else 0)
                found = decode(
                    {**pool(), "apiVersion": edited[:border], "kind": edited[border:]}, "", line_of
                )
                assert found.identity is not None or found.may_be_any, edited


@pytest.mark.parametrize(
    ("meta", "known"),
    [
        ({"name": "llm", "labels": {"a": 1}}, True),
        ({"name": "llm", "generation": "x"}, True),
        ({"name": ""}, False),
        ({"nam": "llm"}, False),
        ({"name": "llm", "namespace": 3}, False),
        (None, False),
        ("llm", False),
    ],
)
def test_only_name_and_namespace_tell_which_object_is_wrong(meta: object, known: bool) -> None:
    found = decode({**pool(), "metadata": meta}, "", line_of)
    assert found.object is None
    assert (found.identity is not None) is known
    assert found.may_be_any is not known


@pytest.mark.parametrize("raw", [{}, {"item": []}, {"items": None}, {"items": {}}, {"items": [None]}])
def test_a_list_that_cannot_be_read_may_have_held_anything(raw: dict[str, Any]) -> None:
    [found] = decode_all({"apiVersion": "v1", "kind": "List", **raw}, "", line_of)
    assert found.may_be_any


@pytest.mark.parametrize("raw", ["text", 3, [1], {}, {"kind": "Pod"}, {"apiVersion": "v1", "kind": None}])
def test_what_is_no_object_is_said(raw: object) -> None:
    [problem] = decode(raw, "x.yaml", line_of).problems
    assert (problem.severity, problem.place.line) == ("error", 1)


def test_an_empty_document_is_nothing() -> None:
    assert decode(None, "", line_of) == Decoded()


def test_nulls_are_absent_and_yaml_times_are_text() -> None:
    raw = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "labels": None, "creationTimestamp": datetime(2026, 1, 2, tzinfo=UTC)},
        "status": {"podIP": "10.0.0.1"},
        "spec": {"anything": "goes"},
    }
    found = decode(raw, "", line_of)
    assert isinstance(found.object, Pod) and not found.problems
    assert found.object.metadata.creation_timestamp == "2026-01-02T00:00:00Z"


def test_a_list_is_its_items_with_their_own_lines() -> None:
    raw = {"apiVersion": "v1", "kind": "List", "items": [pool(), pool(appProtocol="x")]}
    seen: list[tuple[str | int, ...]] = []

    def lines(path: tuple[str | int, ...]) -> int:
        seen.append(path)
        return 7

    good, bad = decode_all(raw, "l.yaml", lines)
    assert good.object is not None and bad.object is None
    assert ("items", 1, "spec", "appProtocol") in seen
    assert bad.problems[0].place.line == 7


def test_where_an_object_was_written_is_no_part_of_it() -> None:
    first = decode(pool(), "a.yaml", lambda _: 1).object
    second = decode(pool(), "b.yaml", lambda _: 2).object
    assert first is not None and second is not None
    assert first == second and first.place() != second.place()
    assert second.place("spec.targetPorts[0].number.deep").line == 2


@pytest.mark.parametrize(
    ("rule", "field"),
    [
        ({"matches": [{"path": {"value": "v1"}}]}, "matches[0].path.value"),
        ({"matches": [{"path": {"value": "/a//b"}}]}, "matches[0].path.value"),
        ({"backendRefs": [{"name": "web"}]}, "backendRefs[0].port"),
        ({"filters": [{"type": "URLRewrite"}]}, "filters[0]"),
        ({"timeouts": {"request": "1s", "backendRequest": "2s"}}, "timeouts.backendRequest"),
        ({"timeouts": {"request": "1 s"}}, "timeouts.request"),
        ({"matches": [{"method": "FETCH"}]}, "matches[0].method"),
    ],
)
def test_rules_of_routes(rule: dict[str, Any], field: str) -> None:
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}}
    found = decode({**raw, "spec": {"rules": [rule]}}, "", line_of)
    assert [problem.place.field for problem in found.problems] == [f"spec.rules[0].{field}"]
    assert found.object is None


REDIRECT = {"type": "ReplaceFullPath", "replaceFullPath": "/{}"}
PREFIX = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/{}"}


@pytest.mark.parametrize("tail", ["\n", "\r\nset-cookie: a=b", "\0", "\x7f"])
@pytest.mark.parametrize(
    "spec",
    [
        {"hostnames": ["a.example{}"]},
        {"rules": [{"matches": [{"path": {"value": "/a{}"}}]}]},
        {"rules": [{"matches": [{"path": {"type": "RegularExpression", "value": "/a{}"}}]}]},
        {"rules": [{"matches": [{"headers": [{"name": "x-a{}", "value": "b"}]}]}]},
        {"rules": [{"matches": [{"headers": [{"name": "x-a", "value": "b{}"}]}]}]},
        {"rules": [{"matches": [{"queryParams": [{"name": "a", "value": "b{}"}]}]}]},
        {"rules": [{"timeouts": {"request": "1s{}"}}]},
        {"rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"path": REDIRECT}}]}]},
        {"rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": {"hostname": "a.b{}"}}]}]},
        {"rules": [{"filters": [{"type": "URLRewrite", "urlRewrite": {"path": PREFIX}}]}]},
        {"rules": [{"filters": [{"type": "URLRewrite", "urlRewrite": {"hostname": "a.b{}"}}]}]},
        {"rules": [{"filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a{}", "value": "b"}]}}
        ]}]},
        {"rules": [{"filters": [
            {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-a", "value": "b{}"}]}}
        ]}]},
        {"rules": [{"filters": [
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"remove": ["x-a{}"]}}
        ]}]},
    ],
)  # fmt: skip
def test_what_envoy_refuses_for_a_control_character_does_not_reach_it(
    spec: dict[str, Any], tail: str
) -> None:
    def filled(value: Any, text: str) -> Any:
        match value:
            case str():
                return value.replace("{}", text)
            case dict():
                return {key: filled(each, text) for key, each in value.items()}
            case list():
                return [filled(each, text) for each in value]

    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}}
    assert decode({**raw, "spec": filled(spec, "")}, "", line_of).problems == ()
    found = decode({**raw, "spec": filled(spec, tail)}, "", line_of)
    assert found.object is None
    assert [problem.severity for problem in found.problems] == ["error"]


def test_a_route_without_rules_has_one_that_matches_all() -> None:
    raw = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "r"}}
    found = decode({**raw, "spec": {}}, "", line_of).object
    assert isinstance(found, HTTPRoute)
    assert found.spec.rules[0].matches[0].path.value == "/"


def test_a_wrong_word_is_answered_with_the_right_ones() -> None:
    (wrong,) = decode(
        pool(endpointPickerRef={"name": "p", "port": {"number": 1}, "failureMode": "Maybe"}), "f", line_of
    ).problems
    assert wrong.place.field == "spec.endpointPickerRef.failureMode"
    assert "'Maybe'" in wrong.message
    assert wrong.message.endswith("it can be FailOpen, FailClose")
    route = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  rules: [{matches: [{path: {type: Prefix, value: /}}]}]
"""
    (wrong,) = read(route).problems
    assert wrong.message.endswith("it can be Exact, PathPrefix, RegularExpression; did you mean PathPrefix?")


def test_a_misspelt_field_is_named_with_the_one_that_is_missing() -> None:
    raw = pool()
    raw["spec"]["targetPort"] = raw["spec"].pop("targetPorts")
    (problem,) = decode(raw, "f", line_of).problems
    assert (problem.severity, problem.place.field) == ("error", "spec.targetPort")
    assert problem.message == "targetPorts is required, and targetPort is unknown: write targetPorts"
