"""When a port looks into bodies for the model's name, and what that leaves as it was."""

from typing import Any

import pytest
from tests import manifests as manifest

from headgate.gateway.envoy import model_routing, protos
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import Translation, translate
from headgate.manifests.decode import decode

PORT = "port-8080"


def matching(*headers: tuple[str, str], type_: str = "Exact") -> dict[str, Any]:
    return {"headers": [{"name": name, "value": value, "type": type_} for name, value in headers]}


def translated(*matches: dict[str, Any]) -> Translation:
    rule = manifest.rule("a", matches=list(matches))
    found = manifest.snapshot(manifest.gateway(), manifest.route(rule), manifest.pool("a"))
    return translate(found, GatewaySettings())


def looks_into_bodies(found: Translation) -> bool:
    routes = found.resources["route"][PORT]
    on = model_routing.TRANSFORM in routes.get("typed_per_filter_config", {})
    assert on == (routes["virtual_hosts"][0]["routes"][-1]["name"] == "no-route")
    return on


@pytest.mark.parametrize("name", ["x-gateway-model-name", "X-Gateway-Model-Name", "X-GATEWAY-MODEL-NAME"])
@pytest.mark.parametrize("type_", ["Exact", "RegularExpression"])
def test_a_match_on_the_models_name_switches_it_on(name: str, type_: str) -> None:
    assert looks_into_bodies(translated(matching(("x-tier", "gold"), (name, "m"), type_=type_)))


@pytest.mark.parametrize(
    "match",
    [
        {},
        matching(("x-gateway-model", "m")),
        matching(("x-gateway-base-model-name", "m")),
        {"queryParams": [{"name": "x-gateway-model-name", "value": "m"}]},
    ],
)
def test_no_other_match_does(match: dict[str, Any]) -> None:
    assert not looks_into_bodies(translated(match))


def test_a_match_that_is_left_out_does_not_count() -> None:
    found = translated({}, matching(("X-Gateway-Model-Name", "(?=m)"), type_="RegularExpression"))
    assert not looks_into_bodies(found)
    assert [each.reason for each in found.problems if each.severity == "error"] == ["UnsupportedValue"]


def test_the_listener_does_not_depend_on_it() -> None:
    """A listener that changes would cut the streams that outlive its drain time."""
    with_it, without = translated(matching(("X-Gateway-Model-Name", "m"))), translated({})
    assert with_it.resources["listener"] == without.resources["listener"]


def test_the_name_of_a_base_model_is_reported_where_it_stands() -> None:
    [problem] = [
        each
        for each in translated({}, matching(("X-Gateway-Base-Model-Name", "m"))).problems
        if each.reason == "UnsupportedValue"
    ]
    assert problem.severity == "warning"
    assert problem.place.field == "spec.rules[0].matches[1].headers"
    assert "ConfigMaps" in problem.message


def test_a_rule_may_name_64_models() -> None:
    matches = [matching(("X-Gateway-Model-Name", f"model-{number}")) for number in range(64)]
    found = translated(*matches)
    host = found.resources["route"][PORT]["virtual_hosts"][0]
    values = [each["match"]["headers"][0]["string_match"]["exact"] for each in host["routes"][:-1]]
    assert values == [f"model-{number}" for number in range(64)]
    one_more = manifest.route(manifest.rule("a", matches=[*matches, matching(("x", "y"))]))
    [problem] = decode(one_more, "", lambda _: 0).problems
    assert problem.place.field.startswith("spec.rules") and "64" in problem.message


def test_what_is_switched_on_is_told_in_envoys_types() -> None:
    routes = translated(matching(("X-Gateway-Model-Name", "m"))).resources["route"][PORT]
    message: Any = protos.to_message("route", routes)
    assert set(message.typed_per_filter_config) == {
        model_routing.BODY_LIMIT,
        model_routing.TRANSFORM,
        model_routing.BODY_SCRIPT,
        "envoy.filters.http.ext_proc",
    }
