"""One HTTPRoute compiled: precedence of matches, and how a part that is wrong is confined."""

from typing import Any

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.gateway import ir
from headgate.gateway.plan.problems import problems_of
from headgate.gateway.plan.routes import PlannedRule, planned
from headgate.model.objects import HTTPRoute
from headgate.model.problems import Problem

FIT = manifest.pool("fit")
SERVER = manifest.model_server("one", "10.0.0.9:8000", app="fit")


def compiled(*rules: Manifest) -> tuple[tuple[PlannedRule, ...], tuple[Problem, ...]]:
    found = world(manifest.snapshot(manifest.route(*rules), FIT, SERVER, manifest.pool("empty")))
    (route,) = found.kind(HTTPRoute)
    made = found.get(planned, route)
    return made.rules, made.problems


def match(**parts: Any) -> dict[str, Any]:
    return {"path": {"type": "PathPrefix", "value": "/"}, **parts}


def values(count: int) -> list[dict[str, str]]:
    return [{"name": f"n{number}", "value": "v"} for number in range(count)]


def test_matches_win_in_the_order_of_the_gateway_api() -> None:
    winners = [
        match(path={"type": "Exact", "value": "/a"}),
        match(path={"type": "RegularExpression", "value": "/a.*"}),
        match(path={"type": "PathPrefix", "value": "/a/longer"}),
        match(path={"type": "PathPrefix", "value": "/a"}, method="POST"),
        match(path={"type": "PathPrefix", "value": "/a"}, headers=values(2)),
        match(path={"type": "PathPrefix", "value": "/a"}, headers=values(1), queryParams=values(3)),
        match(path={"type": "PathPrefix", "value": "/a"}, queryParams=values(1)),
        match(path={"type": "PathPrefix", "value": "/a"}),
        match(),
    ]
    routes, problems = compiled(manifest.rule("fit", matches=winners[::-1]))
    ordered = sorted(routes, key=lambda each: each.precedence)
    assert [each.field for each in ordered] == [
        f"spec.rules[0].matches[{number}]" for number in reversed(range(len(winners)))
    ]
    assert not problems


def test_of_equal_matches_the_first_wins() -> None:
    routes, _ = compiled(manifest.rule("fit"), manifest.rule("empty"))
    assert [each.rule.match for each in routes] == [ir.Match()] * 2
    assert min(routes, key=lambda each: each.precedence).rule.name == "default/routes/0/0"


def test_a_slash_at_the_end_of_a_prefix_says_nothing() -> None:
    with_slash = match(path={"type": "PathPrefix", "value": "/v1/"})
    routes, _ = compiled(manifest.rule("fit", path="/v1"), manifest.rule("empty", matches=[with_slash]))
    assert routes[0].rule.match == routes[1].rule.match
    assert min(routes, key=lambda each: each.precedence) is routes[0]


def test_of_two_headers_of_one_name_the_first_counts_and_parameters_have_case() -> None:
    twice = [{"name": "a", "value": "1"}, {"name": "A", "value": "3"}]
    (only,), _ = compiled(manifest.rule("fit", matches=[match(queryParams=twice, headers=twice)]))
    assert [each.value for each in only.rule.match.query] == ["1", "3"]
    assert [each.value for each in only.rule.match.headers] == ["1"]


def test_a_bad_expression_costs_its_match_only() -> None:
    bad = match(headers=[{"name": "x", "value": "(?=a)", "type": "RegularExpression"}])
    good = match(path={"type": "PathPrefix", "value": "/v1"})
    routes, [problem] = compiled(manifest.rule("fit", matches=[bad, good]))
    assert [each.rule.match for each in routes] == [ir.Match(path="/v1")]
    assert problem.place.field == "spec.rules[0].matches[0].headers[0].value"
    assert problem.reason == "UnsupportedValue"


def test_an_unsupported_filter_fails_its_rule_and_no_other() -> None:
    theirs = {"type": "ExtensionRef", "extensionRef": {"group": "a.example", "kind": "Theirs", "name": "x"}}
    exact = match(path={"type": "Exact", "value": "/a"})
    routes, [problem] = compiled(
        manifest.rule("fit", matches=[exact], filters=[theirs]), manifest.rule("fit")
    )
    assert isinstance(routes[0].rule.action, ir.Fail)
    assert isinstance(routes[1].rule.action, ir.Forward)
    assert problem.place.field == "spec.rules[0].filters[0]"


def test_a_missing_backend_answers_its_share_with_500() -> None:
    routes, [problem] = compiled(manifest.rule(("fit", 3), ("missing", 1)))
    action = routes[0].rule.action
    assert isinstance(action, ir.Forward)
    assert [(each.backend and each.backend.cluster, each.weight) for each in action.shares] == [
        ("pool/default/fit", 3),
        (None, 1),
    ]
    assert (problem.reason, problem.place.field) == ("BackendNotFound", "spec.rules[0].backendRefs[1]")


@pytest.mark.parametrize(
    ("filter_", "served"),
    [
        ({"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}, True),
        ({"type": "URLRewrite", "urlRewrite": {"hostname": "a.example"}}, True),
        ({"type": "CORS", "cors": {"allowOrigins": ["*"]}}, False),
    ],
)
def test_a_single_backend_takes_filters_that_are_no_business_of_the_rule(
    filter_: dict[str, Any], served: bool
) -> None:
    rule = manifest.rule("fit")
    rule["backendRefs"][0]["filters"] = [filter_]
    routes, problems = compiled(rule)
    assert isinstance(routes[0].rule.action, ir.Forward) == served
    assert [each.place.field for each in problems] == (
        [] if served else ["spec.rules[0].backendRefs[0].filters[0]"]
    )


def test_a_service_without_addresses_is_a_warning() -> None:
    service = manifest.manifest("Service", "web", {"ports": [{"port": 80}]})
    rule = {"backendRefs": [{"name": "web", "port": 80}]}
    found = world(manifest.snapshot(manifest.gateway(), manifest.route(rule), service))
    (route,) = found.kind(HTTPRoute)
    (only,) = found.get(planned, route).rules
    assert isinstance(only.rule.action, ir.Forward), "its addresses may come any moment"
    told = found.get(problems_of, route)
    assert [(each.reason, each.severity) for each in told] == [("NoEndpoints", "warning")]


def test_sessions_over_several_backends_are_told_and_kept_within_each() -> None:
    rule = manifest.rule("fit", sessionPersistence={"sessionName": "kept"})
    servers = [{"group": "headgate.dev", "kind": "ModelServer", "name": "one"}] * 2
    for refs, told in ((servers, 1), (servers[:1], 0), ([servers[0], {**servers[1], "weight": 0}], 0)):
        (only,), problems = compiled({**rule, "backendRefs": refs})
        assert isinstance(only.rule.action, ir.Forward)
        assert only.rule.action.session == ir.Session("cookie", "kept")
        assert [each.severity for each in problems] == ["warning"] * told
        assert all("drawn before" in each.message for each in problems)
