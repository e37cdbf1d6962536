"""The way over a listener of Envoy's own; what Envoy makes of it is in tests/live/test_fallback_foreign.py."""

from headgate.gateway.envoy import relay
from headgate.gateway.envoy.names import Json
from headgate.model import headers


def test_only_redirects_to_the_fallbacks_of_the_rule_are_followed() -> None:
    policy = relay.redirected(["a/b", "c"])["internal_redirect_policy"]
    allowed: list[str] = policy["predicates"][0]["typed_config"]["allowed_route_names"]
    assert allowed == [
        relay.again({"route": {"weighted_clusters": {"clusters": []}}}, each)["name"] for each in ("a/b", "c")
    ]
    assert policy["max_internal_redirects"] == 1


def test_what_was_done_to_the_request_is_not_done_again() -> None:
    changes = {"mutations": {"request_mutations": [1], "response_mutations": [2]}}
    entry = {"name": "x", "typed_per_filter_config": {"headgate.route_headers": changes, "other": 1}}
    route: Json = {
        "route": {
            "request_mirror_policies": [1],
            "timeout": "1s",
            "weighted_clusters": {"clusters": [entry]},
        },
    }
    found = relay.again(route, "a")
    kept = {"headgate.route_headers": {"mutations": {"response_mutations": [2]}}, "other": 1}
    assert found["route"] == {
        "timeout": "1s",
        "weighted_clusters": {"clusters": [{"name": "x", "typed_per_filter_config": kept}]},
    }
    assert "request_mirror_policies" in route["route"]


def test_a_mark_is_no_format() -> None:
    mark, group = relay.told("a%b")
    assert mark["header"] == {"key": headers.RELAY, "value": "a%%b"}
    assert group["header"]["key"] == headers.RELAY_GROUP


def test_clients_cannot_steer_it() -> None:
    assert {headers.RELAY, headers.RELAY_GROUP, headers.FALLBACK} <= set(headers.NEVER_FROM_CLIENTS)
