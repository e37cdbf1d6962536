"""One HTTPRoute compiled: precedence of matches, and how a part that is wrong is confined."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest

from headgate.gateway.backend_refs import BackendRefs
from headgate.gateway.compile import CompiledRoute, Compiler
from headgate.gateway.settings import GatewaySettings
from headgate.model.objects import HTTPRoute, of_type
from headgate.model.problems import Problem
from headgate.model.topology import resolve_pools

FIT = manifest.pool("fit")
SERVER = manifest.model_server("one", "10.0.0.9:8000", app="fit")


def compiled(*rules: Manifest) -> tuple[tuple[CompiledRoute, ...], list[Problem]]:
    snapshot = manifest.snapshot(manifest.route(*rules), FIT, SERVER, manifest.pool("empty"))
    compiler = Compiler(BackendRefs(snapshot, resolve_pools(snapshot)[0], GatewaySettings()))
    (route,) = of_type(snapshot.objects, HTTPRoute)
    return compiler.compile(route), compiler.problems


def match(**parts: Any) -> dict[str, Any]:
    return {"path": {"type": "PathPrefix", "value": "/"}, **parts}


def values(count: int) -> list[dict[str, str]]:
    return [{"name": f"n{number}", "value": "v"} for number in range(count)]


def test_matches_win_in_the_order_of_the_gateway_api() -> None:
    winners = [
        match(path={"type": "Exact", "value": "/a"}),
        match(path={"type": "PathPrefix", "value": "/a/longer"}),
        match(path={"type": "PathPrefix", "value": "/a"}, method="POST"),
        match(path={"type": "PathPrefix", "value": "/a"}, headers=values(2)),
        match(path={"type": "PathPrefix", "value": "/a"}, headers=values(1), queryParams=values(3)),
        match(path={"type": "PathPrefix", "value": "/a"}, queryParams=values(1)),
        match(path={"type": "PathPrefix", "value": "/a"}),
        match(),
        match(path={"type": "RegularExpression", "value": "/a.*"}),
    ]
    routes, problems = compiled(manifest.rule("fit", matches=winners[::-1]))
    ordered = sorted(routes, key=lambda each: each.precedence)
    assert [each.field for each in ordered] == [
        f"spec.rules[0].matches[{number}]" for number in reversed(range(len(winners)))
    ]
    assert not problems


def test_of_equal_matches_the_first_wins() -> None:
    routes, _ = compiled(manifest.rule("fit"), manifest.rule("empty"))
    assert [each.match for each in routes] == [{"prefix": "/"}] * 2
    assert min(routes, key=lambda each: each.precedence).envoy["name"] == "default/routes/0/0"


def test_a_bad_expression_costs_its_match_only() -> None:
    bad = match(headers=[{"name": "x", "value": "(?=a)", "type": "RegularExpression"}])
    good = match(path={"type": "PathPrefix", "value": "/v1"})
    routes, [problem] = compiled(manifest.rule("fit", matches=[bad, good]))
    assert [each.envoy["match"] for each in routes] == [{"path_separated_prefix": "/v1"}]
    assert problem.place.field == "spec.rules[0].matches[0].headers[0].value"
    assert problem.reason == "UnsupportedValue"


def test_an_unsupported_filter_fails_its_rule_and_no_other() -> None:
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
    }
    exact = match(path={"type": "Exact", "value": "/a"})
    routes, [problem] = compiled(
        manifest.rule("fit", matches=[exact], filters=[rewrite]), manifest.rule("fit")
    )
    assert routes[0].envoy["direct_response"]["status"] == 500
    assert "route" in routes[1].envoy
    assert problem.place.field == "spec.rules[0].filters[0]"


def test_a_missing_backend_answers_its_share_with_500() -> None:
    routes, [problem] = compiled(manifest.rule(("fit", 3), ("missing", 1)))
    clusters = routes[0].envoy["route"]["weighted_clusters"]["clusters"]
    assert [(each["name"], each["weight"]) for each in clusters] == [
        ("pool/default/fit", 3),
        ("none/invalid-backend", 1),
    ]
    assert (problem.reason, problem.place.field) == ("BackendNotFound", "spec.rules[0].backendRefs[1]")


@pytest.mark.parametrize(
    ("filter_", "served"),
    [
        ({"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}, True),
        ({"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}}, False),
    ],
)
def test_a_single_backend_takes_header_modifiers_only(filter_: dict[str, Any], served: bool) -> None:
    rule = manifest.rule("fit")
    rule["backendRefs"][0]["filters"] = [filter_]
    routes, problems = compiled(rule)
    assert ("route" in routes[0].envoy) == served
    assert [each.place.field for each in problems] == (
        [] if served else ["spec.rules[0].backendRefs[0].filters"]
    )


def test_a_service_without_addresses_is_a_warning() -> None:
    service = manifest.manifest("Service", "web", {"ports": [{"port": 80}]})
    rule = {"backendRefs": [{"name": "web", "port": 80}]}
    snapshot = manifest.snapshot(manifest.route(rule), service)
    compiler = Compiler(BackendRefs(snapshot, (), GatewaySettings()))
    (found,) = compiler.compile(of_type(snapshot.objects, HTTPRoute)[0])
    assert "route" in found.envoy, "its addresses may come any moment"
    assert [(each.reason, each.severity) for each in compiler.problems] == [("NoEndpoints", "warning")]
