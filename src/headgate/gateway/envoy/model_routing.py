"""Routing by model name: filters that put the body's `model` into a header before the route is chosen.

They stand only on ports where a route matches that header: whatever they see is held until it is whole.
"""

from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, extension, typed
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

_FILTERS = "envoy.extensions.filters.http"
_MATCHING = "envoy.extensions.common.matching.v3"
_SKIP = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"

JSON_TYPE = "application/json"
"""Part of the content type of bodies that `transform` looks into; fixed there."""


def filters(settings: GatewaySettings) -> list[Json]:
    """HTTP filters, first in the chain: a limit for JSON bodies, then the header, then the route anew.

    `transform` buffers by the limit of the route, and there may be none before the header is set: the buffer
    filter is what lets bodies of more than 1 MiB through.
    """
    return [_json_only(_buffer(settings)), _transform()]


def _buffer(settings: GatewaySettings) -> Json:
    return extension(
        "envoy.filters.http.buffer",
        f"{_FILTERS}.buffer.v3.Buffer",
        max_request_bytes=settings.body_limit_bytes,
    )


def _transform() -> Json:
    """Without a `model` in the body the header stays absent: an empty value is not added."""
    name = header(headers.MODEL_NAME, "%REQUEST_BODY(model)%")
    return extension(
        "envoy.filters.http.transform",
        f"{_FILTERS}.transform.v3.TransformConfig",
        request_transformation={"headers_mutations": [{"append": name}]},
        clear_route_cache=True,
    )


def _json_only(wrapped: Json) -> Json:
    """Other bodies pass *wrapped* by: uploads and gRPC streams are neither held nor limited."""
    content_type = extension(
        "content-type", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="content-type"
    )
    json_body = {"single_predicate": {"input": content_type, "value_match": {"contains": JSON_TYPE}}}
    skip = {"action": {"name": "skip", "typed_config": typed(_SKIP)}}
    return extension(
        "envoy.filters.http.match_delegate",
        f"{_MATCHING}.ExtensionWithMatcher",
        extension_config=wrapped,
        xds_matcher={
            "matcher_list": {"matchers": [{"predicate": {"not_matcher": json_body}, "on_match": skip}]}
        },
    )
