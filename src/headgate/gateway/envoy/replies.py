"""Envoy's own replies (no route, no healthy upstream, picker gone, …) as OpenAI-style JSON.

A reply is recognised by Envoy's response code details. An ImmediateResponse of a picker has none of these, so
its body is left as it is.
"""

import json

import msgspec

from headgate.gateway.envoy import names
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, extension
from headgate.gateway.reasons import NO_BACKEND
from headgate.gateway.settings import GatewaySettings
from headgate.model.headers import DECISION, DESTINATION, LB_NAMESPACE, REASON
from headgate.model.ids import PoolKey

_METADATA = "metadata.filter_metadata"
_UNPICKED = (
    f'xds.cluster_name.startsWith("{names.pool(PoolKey(""))}") && !("{LB_NAMESPACE}" in {_METADATA}'
    f' && "{DESTINATION}" in {_METADATA}["{LB_NAMESPACE}"])'
)
"""The request leads to a pool and no picker named a destination."""

_UNREACHED = (
    '(response.code_details.startsWith("no_healthy_upstream")'
    ' || response.code_details.startsWith("upstream_reset_before_response_started"))'
)
"""No attempt got an answer."""

_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"


class Reply(msgspec.Struct, frozen=True):
    """One kind of reply that Envoy makes itself."""

    details: str
    """Beginning of Envoy's response code details."""
    reason: str
    """Value of the reason header and `code` in the body."""
    message: str
    type: str = "server_error"
    when: str = ""
    """A further CEL condition."""
    status: int | None = None
    """Status to answer with instead of Envoy's."""
    picked: bool = True
    """False: nobody had chosen an endpoint yet, and the decision header says so."""


NO_ROUTE = Reply(
    "route_not_found", "no-route", "No route matches this host and path.", "invalid_request_error"
)


MISDIRECTED = Reply(
    "",
    "misdirected-request",
    "This connection was made for another host. Open one whose server name (SNI) is the host of the request.",
    "invalid_request_error",
)
"""Not Envoy's own: a route answers so."""

GAVE_UP = Reply(
    "",
    "gave-up",
    "Two model servers in turn took this request and closed the connection, or stayed silent for too long. "
    "It is not given to a third.",
)
"""Not Envoy's own, see `second_chance`; 502, and clients are asked not to repeat it."""


def replies(settings: GatewaySettings) -> tuple[Reply, ...]:
    """All of them; the first that fits counts."""
    limit = f"{settings.body_limit_bytes / 2**20:g} MiB ({settings.body_limit_bytes} bytes)"
    return (
        NO_ROUTE,
        Reply(
            "request_payload_too_large",
            "too-large",
            f"The request body is larger than {limit}.",
            "invalid_request_error",
            picked=False,
        ),
        *(
            Reply(
                details,
                "too-many-headers",
                "The request has more headers than the gateway takes, 85 or 60 KiB; send fewer.",
                "invalid_request_error",
                status=431,
                picked=False,
            )
            for details in (
                "header_mutation_result_exceeds_limit",
                "http1.too_many_headers",
                "http1.headers_too_large",
            )
        ),
        Reply(
            "cluster_not_found",
            NO_BACKEND,
            "The route leads to a backend that does not exist.",
            status=500,
            picked=False,
        ),
        Reply(
            "",
            "bad-certificate",
            "The model server's certificate cannot be trusted. If it should be, name its CA: "
            "--upstream-ca, or spec.tls.caFile of the ModelServer.",
            when=f'{_UNREACHED} && upstream.transport_failure_reason.contains("CERTIFICATE_VERIFY_FAILED")',
        ),
        Reply(
            "",
            "tls-failure",
            "The model server does not speak TLS as its https URL says.",
            when=f'{_UNREACHED} && upstream.transport_failure_reason.startsWith("TLS_error")',
        ),
        Reply(
            "no_healthy_upstream",
            "picker-failed",
            "The endpoint picker failed or cannot be reached, and this pool serves nothing without it.",
            when=_UNPICKED,
            picked=False,
        ),
        Reply("no_healthy_upstream", "no-endpoints", "No model server can be reached for this request."),
        Reply(
            "ext_proc_error",
            "picker-failed",
            "The endpoint picker failed or cannot be reached.",
            picked=False,
        ),
        Reply(
            "request_overall_timeout",
            "body-timeout",
            f"The request's body did not arrive within {settings.body_timeout_s:g} seconds.",
            "invalid_request_error",
            picked=False,
        ),
        Reply(
            "reached_concurrency_limit",
            "overloaded",
            "The gateway holds as many long request bodies as it may. Send this one again in a moment.",
            "overloaded_error",
            picked=False,
        ),
        Reply(
            "overload",
            "overloaded",
            "The gateway is short of memory. Send this request again in a moment.",
            "overloaded_error",
            picked=False,
        ),
        Reply(
            "overflow", "overloaded", "Too many requests are waiting for this backend.", "overloaded_error"
        ),
        Reply("upstream_max_stream_duration_reached", "timeout", "The model server took too long."),
        Reply("response_timeout", "timeout", "The model server did not answer within the route's timeout."),
        Reply(
            "upstream_per_try_timeout",
            "timeout",
            "The model server did not answer within the route's timeout.",
        ),
        Reply(
            "stream_idle_timeout", "idle-timeout", "Nothing was sent for too long, so the stream was ended."
        ),
        Reply("request_header_timeout", "idle-timeout", "The request's headers did not come in time."),
        Reply(
            "upstream_reset_before_response_started",
            "connect-failure",
            "The model server cannot be reached or closed the connection before it answered.",
        ),
        Reply("upstream_response_", "bad-response", "The model server's answer is not valid HTTP."),
    )


def local_reply_config(settings: GatewaySettings) -> Json:
    """`local_reply_config` of the connection manager."""
    return {"mappers": [_mapper(each) for each in replies(settings)]}


def error_body(message: str, type_: str, code: str) -> str:
    """An error in OpenAI's shape."""
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}})


def _mapper(reply: Reply) -> Json:
    expression = f'response.code_details.startsWith("{reply.details}")'
    if reply.when:
        expression += f" && {reply.when}"
    told = [header(REASON, reply.reason)]
    if not reply.picked:
        told.append(header(DECISION, "none"))
    mapper: Json = {
        "filter": {
            "extension_filter": extension(
                "envoy.access_loggers.extension_filters.cel",
                _CEL,
                expression=expression,
            )
        },
        "headers_to_add": told,
        "body_format_override": {
            "content_type": "application/json",
            "text_format_source": {
                "inline_string": error_body(reply.message, reply.type, reply.reason).replace("%", "%%") + "\n"
            },
        },
    }
    if reply.status is not None:
        mapper["status_code"] = reply.status
    return mapper
