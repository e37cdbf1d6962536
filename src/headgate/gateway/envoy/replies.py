"""Envoy's own replies (no route, no healthy upstream, picker gone, no HTTP, …) as OpenAI-style JSON.

A reply is recognised by Envoy's response code details; what no entry knows meets one of the last two. What a
picker answers (an ImmediateResponse) and what routes answer is left as it is.
"""

import json
from collections.abc import Iterator

import msgspec
from msgspec.structs import replace

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


def _answered_by(name: str) -> str:
    asked = f'filter_state["{name}"]'
    return f'("{name}" in filter_state && {asked}.received_immediate_response == 1)'


_OURS_ASKED = f'filter_state["{names.EXT_PROC}"].destination == "{names.OWN_PICKER}"'
"""CEL: that filter asked our own picker, for a route that says so."""
OWN_PICKERS = f"({_answered_by(names.OWN_EXT_PROC)} || {_answered_by(names.EXT_PROC)} && {_OURS_ASKED})"
"""CEL: our own picker itself answers the request."""
_FOREIGN = f"({_answered_by(names.LATE_EXT_PROC)} || {_answered_by(names.EXT_PROC)} && !({_OURS_ASKED}))"
"""CEL: another picker does."""

_CEL = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"

REFUSED_METHODS = ("CONNECT", "TRACE", "TRACK")
"""The gateway is no forward proxy, and what a server would send back of a request may be secret."""
ALLOWED_METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
"""What clients are told instead. Others pass, too."""
METHODS_REFUSED = "methods-refused"
"""Name of the rule that refuses others; Envoy's details repeat it."""
HOSTS_REFUSED = "hosts-refused"
"""The same of hosts that are none."""


RETRY_AFTER_S = 5
"""What clients are told to wait after a 503 of Envoy's own; pickers say the same of empty pools."""
LATER = (("retry-after", str(RETRY_AFTER_S)),)


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
    detailed: bool = False
    """Envoy's details are shown at the end of the message."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further response headers."""
    content_type: str = "application/json"


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

NOT_HTTP = Reply(
    "",
    "bad-http",
    "This is no HTTP request that the gateway can read.",
    "invalid_request_error",
    picked=False,
    detailed=True,
)

GAVE_UP = Reply(
    "",
    "gave-up",
    "Two model servers in turn took this request and closed the connection, or stayed silent for too long. "
    "It is not given to a third.",
)
"""Not Envoy's own, see `second_chance`; 502, and clients are asked not to repeat it."""


ANSWERED = "answered by the picker"
"""Decision of a request that another vendor's picker answered itself; ours says its own."""


def replies(settings: GatewaySettings) -> tuple[Reply, ...]:
    """All of them; the first that fits counts."""
    return (
        *_of_reading(settings),
        *_of_access(),
        *_of_routing(),
        *_of_limits(settings),
        *_of_servers(),
        Reply(
            "",
            "not-accepted",
            "The gateway does not accept this request.",
            "invalid_request_error",
            when="response.code < 500",
            detailed=True,
        ),
        replace(FAILED, when="response.code == 503", headers=LATER),
        FAILED,
    )


FAILED = Reply("", "gateway-error", "The gateway cannot serve this request.", detailed=True)
"""Whatever else Envoy fails at."""


UNREAD = Reply(
    "",
    "bad-request",
    "The body is not what this path needs; the answer's message says what is wrong with it.",
    "invalid_request_error",
)
"""Not Envoy's own: a picker answers so."""


def message_of(reason: str, settings: GatewaySettings) -> str | None:
    """What clients are told besides the *reason*; None where that depends on the request."""
    every = (*replies(settings), MISDIRECTED, GAVE_UP, UNREAD)
    return next((each.message for each in every if each.reason == reason), None)


def _of_reading(settings: GatewaySettings) -> Iterator[Reply]:
    """Requests that Envoy cannot read, or not in time."""
    bad = "invalid_request_error"
    for details in ("http1.too_many_headers", "http1.headers_too_large"):
        yield _too_many_headers(details)
    yield _too_many_headers("header_mutation_result_exceeds_limit")
    for details in ("missing_host_header", "http.invalid_authority", _by_rule(HOSTS_REFUSED)):
        yield Reply(
            details,
            "bad-host",
            "The request's Host header is missing, is no host name, or there are several.",
            bad,
            status=400,
            picked=False,
        )
    for details in (
        "path_normalization_failed",
        "missing_path_rejected",
        "invalid_path",
        "http.invalid_path",
    ):
        yield Reply(
            details,
            "bad-path",
            "The request's path is none: it must begin with / and have neither a fragment (#) nor %00.",
            bad,
            picked=False,
        )
    for details in ("http1.", "http2.", "http3.", "http."):
        yield replace(NOT_HTTP, details=details)
    yield Reply(
        "request_headers_failed_strict_check", "bad-http", "A header that steers proxies is wrong.", bad
    )
    yield Reply(
        _by_rule(METHODS_REFUSED),
        "method-not-allowed",
        f"The gateway does not serve {', '.join(REFUSED_METHODS[:-1])} or {REFUSED_METHODS[-1]}.",
        bad,
        status=405,
        picked=False,
        headers=(("allow", ALLOWED_METHODS),),
    )
    for details in ("upgrade_failed", "early_connect_data"):
        yield Reply(
            details,
            "upgrade-refused",
            "The gateway upgrades connections to WebSockets and to nothing else.",
            bad,
            picked=False,
        )
    for details in ("request_header_timeout", "downstream_header_timeout"):
        yield Reply(
            details,
            "header-timeout",
            f"The request's headers did not arrive within {settings.headers_timeout_s:g} seconds.",
            bad,
            picked=False,
        )
    yield Reply(
        "request_overall_timeout",
        "body-timeout",
        f"The request's body did not arrive within {settings.body_timeout_s:g} seconds.",
        bad,
        picked=False,
    )
    limit = f"{settings.body_limit_bytes / 2**20:g} MiB ({settings.body_limit_bytes} bytes)"
    yield Reply(
        "request_payload_too_large",
        "too-large",
        f"The request body is larger than {limit}.",
        bad,
        picked=False,
    )


def _by_rule(name: str) -> str:
    """Envoy's details of what the rule *name* refuses."""
    return f"rbac_access_denied_matched_policy[{name}]"


def _of_access() -> Iterator[Reply]:
    """Clients that may not call."""
    told = (("www-authenticate", "Bearer"),)
    for details in ("missing_api_key", "jwt_authn_access_denied{Jwt_is_missing}"):
        yield Reply(
            details,
            "missing-api-key",
            "Send your API key: Authorization: Bearer KEY.",
            "authentication_error",
            picked=False,
            headers=told,
        )
    yield Reply(
        "jwt_authn_access_denied",
        "invalid-token",
        "The token is not valid here.",
        "authentication_error",
        status=401,
        picked=False,
        detailed=True,
        headers=told,
    )
    yield Reply(
        "missing_credentials",
        "closed",
        "Nobody may call this here now. Whoever runs the gateway sees the reason in headgate status.",
        "authentication_error",
        status=401,
        picked=False,
        headers=told,
    )
    for details in ("unknown_api_key", "invalid_api_key", "multiple_api_keys", "no_api_key"):
        yield Reply(
            details,
            "invalid-api-key",
            "The API key is not one of those that may call this.",
            "authentication_error",
            status=401,
            picked=False,
            headers=told,
        )


def _too_many_headers(details: str) -> Reply:
    return Reply(
        details,
        "too-many-headers",
        "The request has more headers than the gateway takes, 85 or 60 KiB; send fewer.",
        "invalid_request_error",
        status=431,
        picked=False,
    )


def _of_routing() -> Iterator[Reply]:
    """Requests that lead nowhere."""
    yield Reply("health_check_failed", "draining", "This gateway is about to end.", picked=False)
    # What HEAD is answered with has no body, and some clients read JSON wherever it is announced.
    yield replace(NO_ROUTE, when='request.method == "HEAD"', content_type="text/plain")
    yield NO_ROUTE
    for details in ("route_configuration_not_found", "absolute_path_rejected"):
        yield replace(NO_ROUTE, details=details)
    yield Reply(
        "cluster_not_found",
        NO_BACKEND,
        "The route leads to a backend that does not exist.",
        status=500,
        picked=False,
    )
    yield Reply(
        "ext_proc_error",
        "picker-failed",
        "The endpoint picker failed or cannot be reached.",
        status=503,
        picked=False,
        headers=LATER,
    )


def _of_limits(settings: GatewaySettings) -> Iterator[Reply]:
    """Requests that come while there is too much."""
    kind = "overloaded_error"
    yield Reply(
        "reached_concurrency_limit",
        "overloaded",
        "The gateway holds as many long request bodies as it may. Send this one again in a moment.",
        kind,
        picked=False,
        headers=LATER,
    )
    yield Reply(
        "overload",
        "overloaded",
        "The gateway is short of memory. Send this request again in a moment.",
        kind,
        picked=False,
        headers=LATER,
    )
    for details in ("overflow", "maintenance_mode", "drop_overload", "unconditional_drop_overload"):
        yield Reply(
            details, "overloaded", "Too many requests are waiting for this backend.", kind, headers=LATER
        )


def _of_servers() -> Iterator[Reply]:
    """Requests that no model server answered well."""
    yield Reply(
        "",
        "bad-certificate",
        "The model server's certificate cannot be trusted. If it should be, name its CA: "
        "--upstream-ca, or spec.tls.caFile of the ModelServer.",
        when=f'{_UNREACHED} && upstream.transport_failure_reason.contains("CERTIFICATE_VERIFY_FAILED")',
    )
    yield Reply(
        "",
        "tls-failure",
        "The model server does not speak TLS as its https URL says.",
        when=f'{_UNREACHED} && upstream.transport_failure_reason.startsWith("TLS_error")',
    )
    yield Reply(
        "no_healthy_upstream",
        "picker-failed",
        "The endpoint picker failed or cannot be reached, and this pool serves nothing without it.",
        when=_UNPICKED,
        picked=False,
        headers=LATER,
    )
    yield Reply(
        "no_healthy_upstream",
        "no-endpoints",
        "No model server can be reached for this request.",
        headers=LATER,
    )
    yield Reply("upstream_max_stream_duration_reached", "timeout", "The model server took too long.")
    for details in ("response_timeout", "upstream_per_try_timeout", "upstream_response_timeout"):
        yield Reply(details, "timeout", "The model server did not answer within the route's timeout.")
    for details in ("stream_idle_timeout", "upstream_per_try_idle_timeout"):
        yield Reply(details, "idle-timeout", "Nothing was sent for too long, so the stream was ended.")
    yield Reply(
        "upstream_reset_before_response_started",
        "connect-failure",
        "The model server cannot be reached or closed the connection before it answered.",
        headers=LATER,
    )
    yield Reply(
        "upstream_reset_after_response_started",
        "bad-response",
        "The model server broke off in the middle of its answer.",
    )
    yield Reply("upstream_response_", "bad-response", "The model server's answer is not valid HTTP.")
    yield Reply(
        "websocket_handshake_unsuccessful", "bad-response", "The model server does not speak WebSocket here."
    )
    yield Reply(
        "response_payload_too_large",
        "bad-response",
        "The model server's answer is too long to be searched for its token usage.",
    )


def local_reply_config(settings: GatewaySettings) -> Json:
    """`local_reply_config` of the connection manager."""
    foreign = [header(DECISION, ANSWERED)]
    return {
        "mappers": [
            {"filter": cel_filter(_FOREIGN), "headers_to_add": foreign},
            {"filter": cel_filter(OWN_PICKERS)},
            {"filter": cel_filter(f'response.code < 400 || "{REASON}" in response.headers')},
            *(_mapper(each) for each in replies(settings)),
        ]
    }


def error_body(message: str, type_: str, code: str) -> str:
    """An error in OpenAI's shape."""
    return json.dumps({"error": {"message": message, "type": type_, "param": None, "code": code}})


def cel_filter(expression: str) -> Json:
    """The AccessLogFilter of a CEL expression."""
    return {
        "extension_filter": extension(
            "envoy.access_loggers.extension_filters.cel", _CEL, expression=expression
        )
    }


def _mapper(reply: Reply) -> Json:
    conditions = [f'response.code_details.startsWith("{reply.details}")'] if reply.details else []
    told = [header(REASON, reply.reason), *(header(*each) for each in reply.headers)]
    if not reply.picked:
        told.append(header(DECISION, "none"))
    message = reply.message.replace("%", "%%")
    if reply.detailed:
        message += " Envoy calls it %RESPONSE_CODE_DETAILS%."
    error = {"message": message, "type": reply.type, "param": None, "code": reply.reason}
    mapper: Json = {
        "filter": cel_filter(" && ".join([*conditions, *([reply.when] if reply.when else [])]) or "true"),
        "headers_to_add": told,
        "body_format_override": {"content_type": reply.content_type, "json_format": {"error": error}},
    }
    if reply.status is not None:
        mapper["status_code"] = reply.status
    return mapper
