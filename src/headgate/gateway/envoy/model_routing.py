"""Routing by model name: the body's `model` becomes a header, and the route is chosen again.

Every listener has the filters, switched off. A route configuration switches them on for its port when one of
its routes matches the header: from then on JSON bodies are held until they are whole. Which of the filters
that are off a request gets is settled by Envoy's first choice of a route, so every request must have one.
"""

from headgate.gateway.envoy import names
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, extension, typed
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

_FILTERS = "envoy.extensions.filters.http"
_MATCHING = "envoy.extensions.common.matching.v3"
_TRANSFORM = f"{_FILTERS}.transform.v3.TransformConfig"
_SKIP = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"

JSON_LIMIT = "envoy.filters.http.match_delegate"
"""Name of the filter that holds JSON bodies and knows how long they may be."""

TRANSFORM = "envoy.filters.http.transform"

JSON_TYPE = "application/json"
"""Part of the content type of bodies that `transform` looks into; fixed there."""


def filters(settings: GatewaySettings) -> list[Json]:
    """HTTP filters, first in the chain, off: a limit for JSON bodies, then the header.

    `transform` by itself would go by the limit of the route, and before the header is set it may be that of
    an answer without a backend, 1 MiB.
    """
    limit = extension(
        "envoy.filters.http.buffer",
        f"{_FILTERS}.buffer.v3.Buffer",
        max_request_bytes=settings.body_limit_bytes,
    )
    json_only = extension(
        JSON_LIMIT, f"{_MATCHING}.ExtensionWithMatcher", extension_config=limit, xds_matcher=_SKIP_OTHERS
    )
    return [json_only | {"disabled": True}, extension(TRANSFORM, _TRANSFORM) | {"disabled": True}]


def switched_on() -> Json:
    """`typed_per_filter_config` of a whole route configuration whose routes match the model's name.

    Without a `model` in the body the header stays absent: an empty value is not added. ext_proc is made for
    every request, because its pool is known later; with all parts skipped it asks nobody.
    """
    name = header(headers.MODEL_NAME, "%REQUEST_BODY(model)%")
    silent = {"request_header_mode": "SKIP", "response_header_mode": "SKIP"}
    return {
        JSON_LIMIT: typed(f"{_MATCHING}.ExtensionWithMatcherPerRoute", xds_matcher=_SKIP_OTHERS),
        TRANSFORM: typed(
            _TRANSFORM,
            request_transformation={"headers_mutations": [{"append": name}]},
            clear_route_cache=True,
        ),
        names.EXT_PROC: typed(
            f"{_FILTERS}.ext_proc.v3.ExtProcPerRoute", overrides={"processing_mode": silent}
        ),
    }


def _skip_others() -> Json:
    """Other bodies pass by: uploads and gRPC streams are neither held nor limited."""
    content_type = extension(
        "content-type", "envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="content-type"
    )
    json_body = {"single_predicate": {"input": content_type, "value_match": {"contains": JSON_TYPE}}}
    skip = {"action": {"name": "skip", "typed_config": typed(_SKIP)}}
    return {"matcher_list": {"matchers": [{"predicate": {"not_matcher": json_body}, "on_match": skip}]}}


_SKIP_OTHERS = _skip_others()
