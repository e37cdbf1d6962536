"""Rules across fields: each broken one is told at its field, and right objects break none."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest

from headgate.manifests.decode import decode


def told(each: Manifest) -> list[tuple[str, str]]:
    """(field, message) of every problem."""
    return [(problem.place.field, problem.message) for problem in decode(each, "f", lambda _: 0).problems]


def route(**rule: Any) -> Manifest:
    return manifest.route(rule)


def path(value: str, type_: str = "PathPrefix") -> dict[str, Any]:
    return {"matches": [{"path": {"type": type_, "value": value}}]}


def server(url: str, **tls: Any) -> Manifest:
    made = manifest.model_server("s", url, "a")
    made["spec"]["tls"] = tls
    return made


def gateway(*listeners: dict[str, Any]) -> Manifest:
    return manifest.manifest("Gateway", "g", {"gatewayClassName": "headgate", "listeners": list(listeners)})


HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}
REWRITE = {"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}}
SERVICE = {"name": "web", "port": 80}


@pytest.mark.parametrize(
    ("broken", "field", "word"),
    [
        (gateway(HTTP, {**HTTP, "port": 81}), "spec.listeners[1].name", "unique"),
        (gateway(HTTP, {**HTTP, "name": "other"}), "spec.listeners[1]", "same port"),
        (gateway({**HTTP, "tls": {"mode": "Terminate"}}), "spec.listeners[0].tls", "HTTP"),
        (route(**path("v1")), "spec.rules[0].matches[0].path.value", "start it with '/'"),
        (route(**path("/a//b")), "spec.rules[0].matches[0].path.value", "'//'"),
        (route(**path("/a/..")), "spec.rules[0].matches[0].path.value", "end with"),
        (route(backendRefs=[{"name": "web"}]), "spec.rules[0].backendRefs[0].port", "port is required"),
        (route(filters=[REDIRECT], backendRefs=[SERVICE]), "spec.rules[0].backendRefs", "RequestRedirect"),
        (route(filters=[REDIRECT, REWRITE]), "spec.rules[0].filters", "exclude each other"),
        (route(filters=[REWRITE, REWRITE]), "spec.rules[0].filters[1]", "repeated"),
        (route(filters=[{"type": "URLRewrite"}]), "spec.rules[0].filters[0]", "needs urlRewrite"),
        (
            route(filters=[{**REWRITE, "requestRedirect": {}}]),
            "spec.rules[0].filters[0].requestRedirect",
            "belongs to type RequestRedirect",
        ),
        (
            route(timeouts={"request": "1s", "backendRequest": "2s"}),
            "spec.rules[0].timeouts.backendRequest",
            "longer",
        ),
        (server("http://gpu1", insecureSkipVerify=True), "spec.tls", "https"),
        (server("https://gpu1", caFile="/ca.pem", insecureSkipVerify=True), "spec.tls", "exclude"),
        (server("https://gpu1", caFile="ca.pem"), "spec.tls.caFile", "absolute"),
    ],
)
def test_a_broken_rule_is_told_at_its_field(broken: Manifest, field: str, word: str) -> None:
    [(where, message)] = told(broken)
    assert where == field
    assert word in message


def test_pools_and_models() -> None:
    pool = manifest.pool("p")
    pool["spec"]["targetPorts"] = [{"number": 1}, {"number": 2}, {"number": 1}]
    assert [field for field, _ in told(pool)] == ["spec.targetPorts[2].number"]
    model = manifest.model("m", "p", "a", "b")
    del model["spec"]["targetModels"][1]["weight"]
    assert [field for field, _ in told(model)] == ["spec.targetModels"]


@pytest.mark.parametrize(
    "right",
    [
        gateway(HTTP, {"name": "other", "port": 80, "protocol": "HTTP", "hostname": "a.example"}),
        route(**path("a(b|c)", "RegularExpression")),
        route(timeouts={"request": "0s", "backendRequest": "2s"}),  # 0: no limit
        route(filters=[REDIRECT]),
        manifest.pool("p"),
        manifest.model("m", "p", "a", "b"),
    ],
)
def test_what_is_right_breaks_none(right: Manifest) -> None:
    assert told(right) == []


@pytest.mark.parametrize(
    ("made", "field"),
    [
        (manifest.route({"name": "a"}, {"name": "a"}), "spec.rules[1].name"),
        (
            route(matches=[{"queryParams": [{"name": "a", "value": "1"}, {"name": "a", "value": "2"}]}]),
            "spec.rules[0].matches[0].queryParams[1].name",
        ),
        (
            route(sessionPersistence={"cookieConfig": {"lifetimeType": "Permanent"}}),
            "spec.rules[0].sessionPersistence.absoluteTimeout",
        ),
        (route(retry={"codes": [500, 500]}), "spec.rules[0].retry.codes[1]"),
        (
            gateway({**HTTP, "protocol": "HTTPS", "tls": {"mode": "Terminate"}}),
            "spec.listeners[0].tls.certificateRefs",
        ),
        (gateway({**HTTP, "protocol": "TCP", "hostname": "a.example"}), "spec.listeners[0].hostname"),
        (gateway({**HTTP, "protocol": "TLS"}), "spec.listeners[0].tls"),
    ],
)
def test_what_the_api_server_refuses_is_told_at_its_field(made: Manifest, field: str) -> None:
    assert [each for each, _ in told(made)] == [field]


def test_two_references_to_one_parent_say_which_part_of_it() -> None:
    made = route()
    made["spec"]["parentRefs"] = [{"name": "g", "sectionName": "a"}, {"name": "g", "port": 80}]
    assert told(made) == [
        ("spec.parentRefs[1]", "Gateway g is named twice: give both a sectionName, or both a port")
    ]
    made["spec"]["parentRefs"] = [{"name": "g", "sectionName": "a"}, {"name": "g", "sectionName": "b"}]
    assert told(made) == []


def test_a_prefix_is_replaced_where_one_is_met() -> None:
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"}}
    change = {"filters": [{"type": "URLRewrite", "urlRewrite": rewrite}]}
    assert told(route(**path("/a"), **change)) == []
    [(field, _)] = told(route(**path("/a", "Exact"), **change))
    assert field == "spec.rules[0].filters[0].urlRewrite.path"
