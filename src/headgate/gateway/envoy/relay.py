"""The way to a pool with a fallback and another vendor's picker: a second listener of the same Envoy.

Such a picker holds the body while it decides, and Envoy cannot take a body back from it. So the gateway keeps
the body in its router and sends the request to a listener that no network reaches, where the picker is asked.
If that names nobody, the listener answers with a redirect that only the gateway sees: Envoy begins again with
the request it has kept, marked, so that the route of the fallback takes it (`fallback`).
"""

from collections.abc import Iterable

from headgate.gateway.envoy import fallback, names, replies
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, extension, typed
from headgate.model import headers

NAME = names.RELAY
"""Of the listener, of its route configuration and of the cluster that leads there."""

_AGAIN = 307
"""Status of the listener's redirect."""

_ALLOWED = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig"

_NAMED = f'("{headers.LB_NAMESPACE}" in metadata.filter_metadata'
_NAMED += f' && "{headers.DESTINATION}" in metadata.filter_metadata["{headers.LB_NAMESPACE}"])'
_NOBODY = f"!{_NAMED} && (response.code >= 500 || response.code in [404, 429])"
"""CEL: no endpoint was named, and not because the request is wrong."""

_SCRIPT = f"""
function envoy_on_request(handle)
  local picked = handle:streamInfo():dynamicMetadata():get("{headers.LB_NAMESPACE}") or {{}}
  if not picked["{headers.DESTINATION}"] then handle:respond({{[":status"] = "503"}}, "") end
end
"""


def told(mark: str) -> tuple[Json, ...]:
    """What the relay has to know of a request, as headers."""
    return (
        header(headers.RELAY, mark.replace("%", "%%")),
        header(headers.RELAY_GROUP, f"%REQ({headers.HOST_GROUP})%"),
    )


def redirected(marks: Iterable[str]) -> Json:
    """Fields of a RouteAction: redirects to the fallbacks with these marks are followed, and no others."""
    allowed = typed(_ALLOWED, allowed_route_names=[name(each) for each in marks])
    return {
        "retry_policy": {"num_retries": 0},
        "internal_redirect_policy": {
            "max_internal_redirects": 1,
            "redirect_response_codes": [_AGAIN],
            "predicates": [
                {"name": "envoy.internal_redirect_predicates.allow_listed_routes", "typed_config": allowed}
            ],
            "response_headers_to_copy": [headers.FALLBACK, headers.HOST_GROUP],
        },
    }


def name(mark: str) -> str:
    """The name of a fallback's route."""
    return f"{mark} fallback"


def again(route: Json, mark: str) -> Json:
    """The route of a fallback for requests that begin again: what a backend of the first route has done to
    them is not done twice."""
    action = {key: each for key, each in route["route"].items() if key != "request_mirror_policies"}
    clusters = [_unchanged(each) for each in action["weighted_clusters"]["clusters"]]
    return route | {
        "name": name(mark),
        "request_headers_to_remove": [headers.RELAY, headers.RELAY_GROUP],
        "route": {**action, "weighted_clusters": {**action["weighted_clusters"], "clusters": clusters}},
    }


def _unchanged(entry: Json) -> Json:
    """Without changes of the request's headers."""
    per_filter = dict(entry.get("typed_per_filter_config", {}))
    changes = per_filter.pop(names.ROUTE_HEADERS, None)
    if changes is None:
        return entry
    mutations = {key: each for key, each in changes["mutations"].items() if key != "request_mutations"}
    if mutations:
        per_filter[names.ROUTE_HEADERS] = {**changes, "mutations": mutations}
    return {**entry, "typed_per_filter_config": per_filter}


def match(mark: str, path: Json) -> Json:
    """The same as `fallback.match`, on the relay's listener."""
    return {**path, "headers": [{"name": headers.RELAY, "string_match": {"exact": mark}}]}


def configuration(routes: Iterable[Json], buffer_bytes: int) -> Json:
    """The route configuration of the relay's listener; *buffer_bytes* of a body are kept for retries."""
    host = {
        "name": NAME,
        "domains": ["*"],
        "request_body_buffer_limit": buffer_bytes,
        "include_request_attempt_count": True,
        "routes": list(routes),
    }
    return {
        "name": NAME,
        "request_headers_to_remove": [headers.DESTINATION, headers.RELAY, headers.RELAY_GROUP],
        "validate_clusters": False,
        "virtual_hosts": [host],
    }


def begins_again() -> Json:
    """The mapper of local replies that makes the redirect."""
    return {
        "filter": replies.cel_filter(_NOBODY),
        "status_code": _AGAIN,
        "headers_to_add": [
            header("location", "%REQ(X-FORWARDED-PROTO)%://%REQ(:AUTHORITY)%%REQ(:PATH)%"),
            header(headers.FALLBACK, f"%REQ({headers.RELAY})%"),
            header(headers.HOST_GROUP, f"%REQ({headers.RELAY_GROUP})%"),
        ],
    }


def nobody_named() -> Json:
    """The filter after those that ask pickers: without an endpoint the request goes no further, whatever the
    pool's failure mode."""
    lua = f"{fallback.LUA}.Lua"
    return extension("headgate.nobody_named", lua, default_source_code={"inline_string": _SCRIPT})
