"""One other endpoint at most for a request that an endpoint took and did not answer.

Envoy counts all attempts of a request alike. Refused connections may go down the picker's list; but a request
that ends the server that reads it must not meet all of them. So filters of each attempt after the first look
at what Envoy has sent to model servers and heard from them so far, and refuse the attempt when two were lost.
"""

from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, extension, typed
from headgate.gateway.envoy.replies import GAVE_UP, error_body
from headgate.model import headers

ATTEMPT = "x-envoy-attempt-count"
"""Request header by which Envoy numbers attempts, from 1; switched on for every virtual host."""

_METER = "x-headgate-meter"
"""Request header from the first filter to the second: bytes sent to servers, header bytes that came back."""

_STATE = headers.ATTEMPTS_NAMESPACE
"""What was known when the last attempt began, and `reason` when it was refused."""

_FILTERS = "envoy.extensions.filters.http"

REASON = f"%DYNAMIC_METADATA({_STATE}:reason)%"
"""Value of the reason header of an answer: empty, and not sent, unless an attempt was refused."""

_SCRIPT = f"""
function envoy_on_request(handle)
  local headers = handle:headers()
  local sent, heard = string.match(headers:get("{_METER}") or "", "(%d+) (%d+)")
  headers:remove("{_METER}")
  sent, heard = tonumber(sent) or 0, tonumber(heard) or 0
  local metadata = handle:streamInfo():dynamicMetadata()
  local known = metadata:get("{_STATE}") or {{}}
  local lost = known["lost"] or 0
  if sent > (known["sent"] or 0) and heard <= (known["heard"] or 0) then
    lost = lost + 1
  end
  if lost < 2 then
    local now = (metadata:get("{headers.LB_NAMESPACE}") or {{}})["{headers.SERVED}"]
    metadata:set("{_STATE}", "lost", lost)
    metadata:set("{_STATE}", "sent", sent)
    metadata:set("{_STATE}", "heard", heard)
    metadata:set("{_STATE}", "served", now or "")
    return
  end
  -- the endpoint of this attempt has done nothing: the one before it answers for the end
  metadata:set("{headers.LB_NAMESPACE}", "{headers.SERVED}", known["served"] or "")
  metadata:set("{_STATE}", "reason", "{GAVE_UP.reason}")
  handle:respond(
    {{[":status"] = "502", ["content-type"] = "application/json", ["x-should-retry"] = "false"}},
    [==[{error_body(GAVE_UP.message, GAVE_UP.type, GAVE_UP.reason)}]==] .. string.char(10))
end
"""


def filters() -> list[Json]:
    """Upstream HTTP filters of a pool's cluster, first in the chain. A first attempt passes them by."""
    meter = header(_METER, "%UPSTREAM_WIRE_BYTES_SENT% %UPSTREAM_HEADER_BYTES_RECEIVED%")
    return [
        _retries_only(
            "headgate.meter",
            extension(
                "envoy.filters.http.header_mutation",
                f"{_FILTERS}.header_mutation.v3.HeaderMutation",
                mutations={"request_mutations": [{"append": meter}]},
            ),
        ),
        _retries_only(
            "headgate.second_chance",
            extension(
                "envoy.filters.http.lua",
                f"{_FILTERS}.lua.v3.Lua",
                default_source_code={"inline_string": _SCRIPT},
            ),
        ),
    ]


def _retries_only(name: str, wrapped: Json) -> Json:
    attempt = extension("attempt", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=ATTEMPT)
    first = {"single_predicate": {"input": attempt, "value_match": {"exact": "1"}}}
    skip = typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")
    return extension(
        name,
        "envoy.extensions.common.matching.v3.ExtensionWithMatcher",
        extension_config=wrapped,
        xds_matcher={
            "matcher_list": {
                "matchers": [
                    {"predicate": first, "on_match": {"action": {"name": "skip", "typed_config": skip}}}
                ]
            }
        },
    )
