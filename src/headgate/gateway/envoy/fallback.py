"""From a pool whose picker names nobody to another backend, whose own picker is asked.

The filter that asks such a pool's picker takes its refusals for silence. If no endpoint was named then, a
script marks the request and lets its route be chosen again: the first routes of a host take marked requests,
and lead to the other backend. Its picker is asked by a third filter, since the first one has done its work.
"""

from collections.abc import Mapping

from headgate.gateway.envoy import names
from headgate.gateway.envoy.names import Json, extension, typed
from headgate.model import headers

LUA = "envoy.extensions.filters.http.lua.v3"
_EXT_PROC_PER_ROUTE = "envoy.extensions.filters.http.ext_proc.v3.ExtProcPerRoute"

FIRST = "headgate.first_ext_proc"
"""Asks the picker of a pool that has a fallback."""
MARK = "headgate.fallback"
SECOND = "headgate.fallback_ext_proc"
"""Asks the picker of the pool that is the fallback."""

_TO = "to"
"""Key of the script's context: the mark."""

_SCRIPT = f"""
function envoy_on_request(handle)
  local to = handle:filterContext():get("{_TO}")
  if not to then return end
  local picked = (handle:streamInfo():dynamicMetadata():get("{headers.LB_NAMESPACE}") or {{}})
  if picked["{headers.DESTINATION}"] then return end
  handle:headers():replace("{headers.FALLBACK}", to)
  handle:clearRouteCache()
end
"""


def script() -> Json:
    """The filter between the two that ask pickers, off until a route has a fallback."""
    lua = extension(MARK, f"{LUA}.Lua", default_source_code={"inline_string": _SCRIPT})
    return lua | {"disabled": True}


def switched_on(ask: Json, mark: str) -> Mapping[str, Json]:
    """`typed_per_filter_config` of a weighted cluster whose picker is asked by *ask*.

    The second filter is made although it asks nobody yet: Envoy settles at first which filters there are.
    """
    return {
        FIRST: ask,
        MARK: typed(f"{LUA}.LuaPerRoute", filter_context={_TO: mark}),
        SECOND: _silent(),
    }


def made() -> Mapping[str, Json]:
    """`typed_per_filter_config` of a configuration whose routes may have fallbacks and are chosen twice: the
    filters are there for whatever route comes to be chosen, and do nothing by themselves."""
    return {FIRST: _silent(), MARK: typed(f"{LUA}.LuaPerRoute", filter_context={}), SECOND: _silent()}


def match(mark: str, path: Json) -> Json:
    """The RouteMatch of requests with that mark; *path* is its part that rewrites of the path go by."""
    marked = {"name": headers.FALLBACK, "string_match": {"exact": mark}}
    return {**path, "headers": [marked]}


def _silent() -> Json:
    mode = {"request_header_mode": "SKIP", "response_header_mode": "SKIP"}
    grpc = names.grpc(names.OWN_PICKER)
    return typed(_EXT_PROC_PER_ROUTE, overrides={"processing_mode": mode, "grpc_service": grpc})
