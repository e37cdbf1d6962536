"""When a port looks into bodies for the model's name, and what that leaves as it was."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import manifests as manifest

from headgate.gateway.envoy import body_script, model_answers, model_routing, protos
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


def test_a_match_on_a_base_model_looks_into_bodies_too() -> None:
    assert looks_into_bodies(translated(matching(("X-Gateway-Base-Model-Name", "m"))))


def test_a_rule_may_name_64_models() -> None:
    matches = [matching(("X-Gateway-Model-Name", f"model-{number}")) for number in range(64)]
    found = translated(*matches)
    host = found.resources["route"][PORT]["virtual_hosts"][0]
    values = [each["match"]["headers"][0]["string_match"]["exact"] for each in host["routes"][1:65]]
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


def prefix(path: str, **more: Any) -> dict[str, Any]:
    return {"prefix": "/", **more} if path == "/" else {"path_separated_prefix": path, **more}


ASKS = {"headers": [{"name": "X-Gateway-Model-Name", "string_match": {"exact": "m"}}]}


@pytest.mark.parametrize(
    ("matches", "needed"),
    [
        (
            [prefix("/v1/files"), prefix("/v1", **ASKS), prefix("/v1"), prefix("/v2")],
            [False, True, True, False],
        ),
        ([prefix("/v1", **ASKS), {"path": "/v1/files"}, {"path": "/v10"}], [True, True, False]),
        (
            [{"path": "/v1/x", **ASKS}, prefix("/v1"), prefix("/v1/x/y"), prefix("/")],
            [True, True, False, True],
        ),
        ([{"safe_regex": {"regex": "/v1.*"}, **ASKS}, prefix("/v2")], [True, True]),
        ([prefix("/v1", **ASKS), {"safe_regex": {"regex": "/v2"}}], [True, True]),
        ([{"safe_regex": {"regex": "/v2"}}, prefix("/", **ASKS), prefix("/v2")], [False, True, True]),
        (
            [prefix("/v1", headers=[{"name": "x", "string_match": {"exact": "m"}}]), prefix("/v1")],
            [False, False],
        ),
        ([], []),
    ],
)
def test_bodies_are_read_where_a_model_may_decide(matches: list[dict[str, Any]], needed: list[bool]) -> None:
    assert model_routing.must_be_read(matches) == needed


PATHS = ["/" + "/".join(parts) for depth in range(4) for parts in itertools.product("ab", repeat=depth)]
_MATCH = st.builds(
    lambda path, exact, asks: ({"path": path} if exact else prefix(path)) | (ASKS if asks else {}),
    st.sampled_from(PATHS),
    st.booleans(),
    st.booleans(),
)


def fits(match: dict[str, Any], path: str) -> bool:
    if "path" in match:
        return bool(match["path"] == path)
    stem = match.get("path_separated_prefix", "")
    return path == stem or path.startswith(stem + "/")


@given(st.lists(_MATCH, max_size=6))
def test_no_request_loses_its_models_route_and_none_is_read_in_vain(matches: list[dict[str, Any]]) -> None:
    """By every path there is, two elements deeper than those of the matches."""
    paths = [*PATHS, *(f"{path.rstrip('/')}/{more}" for path in PATHS for more in ("a", "x"))]
    for number, needed in enumerate(model_routing.must_be_read(matches)):
        match = matches[number]
        asking = [each for each in matches[:number] if "headers" in each]
        both = any(fits(match, path) and fits(each, path) for each in asking for path in paths)
        assert needed == (both or "headers" in match), (matches, number)


def test_what_is_switched_off_and_what_answers_last_is_told_in_envoys_types() -> None:
    matches = [prefix("/v1", **ASKS), {"path": "/v1/x", **ASKS}, prefix("/v1", **ASKS)]
    last = model_answers.last_routes(matches)
    assert [each["name"] for each in last] == [
        *("unreadable-body/0", "unreadable-body/1", "model-not-found/0", "model-not-found/1"),
        *("no-route/0", "no-route/1", "no-route"),
    ]
    host = {"name": "a", "domains": ["a"], "routes": last}
    message: Any = protos.to_message("route", {"name": "r", "virtual_hosts": [host]})
    assert set(message.virtual_hosts[0].routes[-1].typed_per_filter_config) == {
        model_routing.BODY_LIMIT,
        model_routing.TRANSFORM,
        model_routing.BODY_SCRIPT,
    }


def test_names_of_adapters_come_with_the_routes() -> None:
    on = model_routing.switched_on({"adapter": "base", "base": "base"})
    told = on[model_routing.BODY_SCRIPT]["filter_context"]
    assert told[body_script.BASE_MODELS] == "adapter\tbase\nbase\tbase\n"
    assert told == body_script.context({"base": "base", "adapter": "base", "x\n": "base", "": "base"})
    others = body_script.context({"adapter": "base", "base": "other"})
    assert others[body_script.VERSION] != told[body_script.VERSION]
    assert body_script.context({}) == {}
    asks = {"name": "X-Gateway-Base-Model-Name", "string_match": {"exact": "base"}}
    _, found, _, _ = model_answers.last_routes([prefix("/", headers=[asks])], {"b": "other", "a": "base"})
    message = found["direct_response"]["body_format"]["json_format"]["error"]["message"]
    assert message.endswith("here; there are routes for a.")
