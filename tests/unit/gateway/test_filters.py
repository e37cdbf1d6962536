"""HTTPRoute filters, one by one: what each does to a route, and what it refuses."""

from typing import Any

import pytest

from headgate import registry
from headgate.gateway import filters
from headgate.gateway.api import Effect, FilterPlugin, Position, Refusal, Scope
from headgate.gateway.half import world_of
from headgate.gateway.settings import GatewaySettings
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import FilterType, PathMatch, RouteFilter
from headgate.model.objects.routes import Header, HeaderModifier, PathModifier, RequestRedirect, UrlRewrite

PLUGINS = {
    each.TYPE: each
    for each in registry.classes(filters, FilterPlugin)  # type: ignore[type-abstract]
}
ROUTE = Identity("HTTPRoute", "default", "routes", GATEWAY_GROUP)
AT = Position("http", 80)
MOVED = Position("http", 8080, 8080, 8443)
"""Where 80 and 443 are bound elsewhere."""


def effect(
    type_: FilterType, path: PathMatch | None = None, at: Position = AT, **settings: Any
) -> Effect | Refusal:
    scope = Scope(world_of(GatewaySettings()), ROUTE, path or PathMatch("PathPrefix", "/a"))
    read = PLUGINS[type_].read(RouteFilter(type_, **settings), scope)
    return read if isinstance(read, Refusal) else read.effect(at)


def done(found: Effect | Refusal) -> Effect:
    assert isinstance(found, Effect), found
    return found


@pytest.mark.parametrize(
    ("type_", "member"),
    [("RequestHeaderModifier", "request"), ("ResponseHeaderModifier", "response")],
)
def test_headers_are_set_added_and_removed_literally(type_: FilterType, member: str) -> None:
    modifier = HeaderModifier(set=(Header("x", "100%"),), add=(Header("y", "1"),), remove=("z",))
    settings: dict[str, Any] = {f"{member}_header_modifier": modifier}
    found = done(effect(type_, None, **settings))
    added, removed = getattr(found, f"{member}_add"), getattr(found, f"{member}_remove")
    assert [(each["header"]["key"], each["header"]["value"]) for each in added] == [
        ("x", "100%%"),  # Envoy reads a format string: nothing in it may be taken for a command
        ("y", "1"),
    ]
    assert [each["append_action"].split("_")[0] for each in added] == ["OVERWRITE", "APPEND"]
    assert removed == ("z",)


@pytest.mark.parametrize(
    "modifier",
    [
        HeaderModifier(set=(Header("Host", "x"),)),
        HeaderModifier(add=(Header("host", "x"),)),
        HeaderModifier(remove=("HOST",)),
    ],
)
def test_host_is_no_business_of_a_header_modifier(modifier: HeaderModifier) -> None:
    refused = effect("RequestHeaderModifier", request_header_modifier=modifier)
    assert isinstance(refused, Refusal)
    assert "URLRewrite" in refused.message


RESERVED = (
    *(
        "Content-Length",
        "transfer-encoding",
        "Connection",
        "keep-alive",
        "TE",
        "trailer",
        "Upgrade",
        "expect",
    ),
    *("Proxy-Connection", "proxy-authorization", "http2-settings", "x-envoy-max-retries"),
    *("X-Gateway-Destination-Endpoint", "x-gateway-model-name", "x-headgate-pool", "X-Headgate-Anything"),
)


@pytest.mark.parametrize("name", RESERVED)
@pytest.mark.parametrize(
    ("type_", "member", "wire"),
    [
        ("RequestHeaderModifier", "request_header_modifier", "requestHeaderModifier"),
        ("ResponseHeaderModifier", "response_header_modifier", "responseHeaderModifier"),
    ],
)
def test_framing_and_the_gateways_own_headers_are_no_business_of_a_route(
    type_: FilterType, member: str, wire: str, name: str
) -> None:
    fine = Header("x-fine", "1")
    for modifier, field in (
        (HeaderModifier(set=(fine, Header(name, "2"))), "set[1].name"),
        (HeaderModifier(add=(Header(name, "2"),)), "add[0].name"),
        (HeaderModifier(set=(fine,), remove=("x-other", name)), "remove[1]"),
    ):
        settings: dict[str, Any] = {member: modifier}
        found = effect(type_, None, **settings)
        assert isinstance(found, Refusal)
        assert found.field == f"{wire}.{field}"
        assert name in found.message


@pytest.mark.parametrize("value", ["1\r\nGET / HTTP/1.1", "1\n", "a\0b", "\x7f"])
def test_a_value_that_would_end_the_header_is_refused(value: str) -> None:
    found = effect("RequestHeaderModifier", request_header_modifier=HeaderModifier(add=(Header("x", value),)))
    assert isinstance(found, Refusal)
    assert found.field == "requestHeaderModifier.add[0].value"


def test_a_rewrite_changes_host_and_whole_path() -> None:
    wanted = UrlRewrite("inner.example", PathModifier("ReplaceFullPath", replace_full_path=r"/a\1"))
    found = done(effect("URLRewrite", url_rewrite=wanted))
    assert found.action == {
        "host_rewrite_literal": "inner.example",
        "regex_rewrite": {"pattern": {"regex": "^/.*$"}, "substitution": r"/a\\1"},
    }


def test_a_prefix_can_only_be_replaced_where_a_prefix_was_matched() -> None:
    path = PathModifier("ReplacePrefixMatch", replace_prefix_match="/b")
    assert done(effect("URLRewrite", url_rewrite=UrlRewrite(path=path))).action == {"prefix_rewrite": "/b"}
    redirect = done(effect("RequestRedirect", request_redirect=RequestRedirect(path=path)))
    assert redirect.redirect == {"response_code": "FOUND", "port_redirect": 0, "prefix_rewrite": "/b"}
    exact = PathMatch("Exact", "/a")
    for refused in (
        effect("URLRewrite", exact, url_rewrite=UrlRewrite(path=path)),
        effect("RequestRedirect", exact, request_redirect=RequestRedirect(path=path)),
    ):
        assert isinstance(refused, Refusal)
        assert "PathPrefix" in refused.message


HTTPS = RequestRedirect(scheme="https")
PORT = RequestRedirect(scheme="http", port=8080, status_code=308)
WHOLE = RequestRedirect(hostname="new.example", path=PathModifier("ReplaceFullPath", replace_full_path="/x"))


@pytest.mark.parametrize(
    ("wanted", "at", "expected"),
    [
        (RequestRedirect(), AT, {"port_redirect": 0}),
        (RequestRedirect(), MOVED, {"port_redirect": 8080}),
        (HTTPS, AT, {"scheme_redirect": "https", "port_redirect": 0}),
        (HTTPS, MOVED, {"scheme_redirect": "https", "port_redirect": 8443}),
        (
            PORT,
            AT,
            {"response_code": "PERMANENT_REDIRECT", "scheme_redirect": "http", "port_redirect": 8080},
        ),
        (WHOLE, AT, {"host_redirect": "new.example", "port_redirect": 0, "path_redirect": "/x"}),
    ],
)
def test_a_redirect_replaces_what_is_given_and_keeps_the_rest(
    wanted: RequestRedirect, at: Position, expected: dict[str, Any]
) -> None:
    found = done(effect("RequestRedirect", at=at, request_redirect=wanted))
    assert found.redirect == {"response_code": "FOUND", **expected}
