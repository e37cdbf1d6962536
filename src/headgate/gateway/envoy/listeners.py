"""Listeners (LDS): one connection manager per bound port. Nothing in here depends on routes or pools.

A listener that changes costs the streams that outlive the drain time: what routes need is switched on in RDS.
"""

from collections.abc import Sequence

import msgspec

from headgate.gateway import ir
from headgate.gateway.envoy import (
    access,
    access_log,
    body_budget,
    fallback,
    model_routing,
    names,
    own_answers,
    relay,
    replies,
    scopes,
    sessions,
)
from headgate.gateway.envoy.asking import BODYLESS_MODE, ext_proc, own_ext_proc
from headgate.gateway.envoy.names import Json, duration, extension
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

_FILTERS = "envoy.extensions.filters.http"

USAGE = (
    ("prompt", ("usage", "prompt_tokens")),
    ("completion", ("usage", "completion_tokens")),
    ("cached", ("usage", "prompt_tokens_details", "cached_tokens")),
    ("prompt", ("usage", "input_tokens")),
    ("completion", ("usage", "output_tokens")),
    ("cached", ("usage", "input_tokens_details", "cached_tokens")),
    ("cache_read", ("usage", "cache_read_input_tokens")),
    ("cache_creation", ("usage", "cache_creation_input_tokens")),
    ("prompt", ("meta_info", "prompt_tokens")),
    ("completion", ("meta_info", "completion_tokens")),
    ("cached", ("meta_info", "cached_tokens")),
    ("total", ("usage", "total_tokens")),
)
"""Where chat completions, Responses, Anthropic Messages and SGLang's own path say what of the usage.

Ranks may say nothing but a total.
"""
USAGE_OF_EVENTS = (
    ("prompt", ("response", "usage", "input_tokens")),
    ("completion", ("response", "usage", "output_tokens")),
    ("cached", ("response", "usage", "input_tokens_details", "cached_tokens")),
    ("prompt", ("message", "usage", "input_tokens")),
    ("cache_read", ("message", "usage", "cache_read_input_tokens")),
    ("cache_creation", ("message", "usage", "cache_creation_input_tokens")),
)
"""The same in the events of Responses and of Anthropic Messages."""
MAX_EVENT_BYTES = 1024 * 1024
"""Longest server-sent event whose usage is read: the last one of Responses has the whole answer."""

JSON_TYPES = r"application/json\s*(;.*)?"
"""Content types searched for token usage; Envoy's own list has no parameters such as a charset."""

_HTTP2: Json = {
    "max_concurrent_streams": 1024,
    "initial_stream_window_size": 1 << 20,
    "initial_connection_window_size": 4 << 20,
    "override_stream_error_on_invalid_http_message": True,
}
"""HTTP/2 of clients. Proxies before the gateway send many streams on one connection, so that there are more
of them than Envoy advises for the edge, and a request that is none ends its own stream only. A window of 1
MiB takes 10 MB a second from 100 ms away; what it may hold is little beside a body.
"""

HOST_OF_HTTP_10 = "localhost"
"""Host of a request that names none, which HTTP/1.0 allows. Routes of other hosts do not take it."""

_HEALTH = headers.HEALTH_PATH + r"(\?.*)?"


class Chain(msgspec.Struct, frozen=True):
    """The requests of a port that are looked up in one table."""

    table: str
    """Name of its route configuration."""
    server_name: str | None = None
    """Of TLS connections: the name that clients ask for; None: any other."""
    certificates: tuple[str, ...] = ()
    """Names of the secrets with what is shown to clients; empty: no TLS."""
    authorities: str | None = None
    """CA certificates (PEM) of clients' certificates; None: clients are asked for none."""
    required: bool = True
    """Clients without a certificate of theirs are refused."""
    grouped: bool = False
    """The table is cut into groups of hosts, and *table* is what their scopes' names begin with."""


Policies = Sequence[tuple[str, ir.Tokens]]
"""`namespace/name` of what says how tokens are read, and how."""


def listener(
    name: str, port: int, chains: Sequence[Chain], settings: GatewaySettings, tokens: Policies = ()
) -> Json:
    """The listener of a bound port."""
    found: Json = {
        "name": name,
        "address": {"socket_address": {"address": settings.address, "port_value": port}},
        "filter_chains": [_chain(each, settings, tokens) for each in chains],
    }
    if any(each.certificates for each in chains):
        found["listener_filters"] = [
            extension("envoy.filters.listener.tls_inspector", f"{_TLS_INSPECTOR}.TlsInspector")
        ]
    return found


def relay_listener(settings: GatewaySettings) -> Json:
    """The listener where pickers of others are asked about requests that have a fallback (`relay`)."""
    answers = replies.local_reply_config(settings)
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix=relay.NAME,
        codec_type="HTTP2",
        server_name="headgate",
        generate_request_id=False,
        preserve_external_request_id=True,
        stream_idle_timeout=duration(settings.idle_timeout_s),
        rds={"route_config_name": relay.NAME, "config_source": {"ads": {}, "resource_api_version": "V3"}},
        local_reply_config={"mappers": [relay.begins_again(), *answers["mappers"]]},
        http_filters=[
            own_ext_proc(settings),
            ext_proc(settings),
            _whole_body(settings),
            ext_proc(settings, names.LATE_EXT_PROC, late=True),
            relay.nobody_named(),
            sessions.idle(),
            _router(),
        ],
    )
    return {"name": relay.NAME, "internal_listener": {}, "filter_chains": [{"filters": [manager]}]}


def _chain(chain: Chain, settings: GatewaySettings, tokens: Policies) -> Json:
    manager = extension(
        "envoy.filters.network.http_connection_manager",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **_manager(chain, settings, tokens),
    )
    if not chain.certificates:
        return {"filters": [manager]}
    found: Json = {"name": chain.table, "filters": [manager], "transport_socket": _downstream_tls(chain)}
    if chain.server_name is not None:
        found["filter_chain_match"] = {"server_names": [chain.server_name]}
    return found


def _downstream_tls(chain: Chain) -> Json:
    """TLS 1.2 and 1.3, HTTP/2 where clients speak it."""
    common: Json = {
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "alpn_protocols": ["h2", "http/1.1"],
        "tls_certificate_sds_secret_configs": [
            {"name": name, "sds_config": {"ads": {}, "resource_api_version": "V3"}}
            for name in chain.certificates
        ],
    }
    context: Json = {"common_tls_context": common}
    if chain.authorities is not None:
        common["validation_context"] = {"trusted_ca": {"inline_string": chain.authorities}}
        if chain.required:
            context["require_client_certificate"] = True
        else:
            common["validation_context"]["trust_chain_verification"] = "ACCEPT_UNTRUSTED"
    return extension(
        "envoy.transport_sockets.tls",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        **context,
    )


_TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3"


def _manager(chain: Chain, settings: GatewaySettings, tokens: Policies) -> Json:
    return {
        "stat_prefix": chain.table,
        "codec_type": "AUTO",
        "server_name": "headgate",
        "use_remote_address": True,
        "generate_request_id": True,
        "preserve_external_request_id": True,
        "always_set_request_id_in_response": True,
        "request_id_extension": {
            "typed_config": names.typed(
                "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", pack_trace_reason=False
            )
        },
        "normalize_path": True,
        "merge_slashes": True,
        "strip_trailing_host_dot": True,
        "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT",
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": HOST_OF_HTTP_10},
        "request_headers_timeout": duration(settings.headers_timeout_s),
        "common_http_protocol_options": {
            "headers_with_underscores_action": "DROP_HEADER",
            "idle_timeout": duration(settings.idle_timeout_s),
        },
        "http2_protocol_options": dict(_HTTP2),
        "stream_idle_timeout": duration(settings.idle_timeout_s),
        "request_timeout": duration(settings.body_timeout_s),
        **_routes_of(chain),
        "early_header_mutation_extensions": [
            _strip_on_entry(),
            *([scopes.key_header(chain.table)] if chain.grouped else []),
        ],
        "local_reply_config": replies.local_reply_config(settings),
        "access_log": _access_logs(chain, settings),
        "http_filters": [
            _refusals(),
            _health(),
            *body_budget.filters(settings),
            *model_routing.filters(settings),
            _route_headers(),
            extension(names.CORS, f"{_FILTERS}.cors.v3.Cors"),
            *access.filters(tokens),
            _json_usage(),
            _sse_usage(),
            _default_decision(),
            own_ext_proc(settings),
            ext_proc(settings),
            _whole_body(settings),
            ext_proc(settings, names.LATE_EXT_PROC, late=True),
            ext_proc(settings, fallback.FIRST, refusals_are_silence=True),
            fallback.script(),
            ext_proc(settings, fallback.SECOND),
            sessions.idle(),
            _router(),
        ],
        "upgrade_configs": [{"upgrade_type": "websocket", "filters": _of_websockets(settings, tokens)}],
    }


def _routes_of(chain: Chain) -> Json:
    if chain.grouped:
        return {"scoped_routes": scopes.scoped_routes()}
    source = {"ads": {}, "resource_api_version": "V3"}
    return {"rds": {"route_config_name": chain.table, "config_source": source}}


def _of_websockets(settings: GatewaySettings, tokens: Policies) -> list[Json]:
    """HTTP filters of requests that become WebSockets: those of others that do not wait for a body."""
    return [
        _refusals(),
        _route_headers(),
        *access.filters(tokens),
        _default_decision(),
        own_ext_proc(settings, names.OWN_UPGRADE_EXT_PROC, BODYLESS_MODE),
        ext_proc(settings, names.UPGRADE_EXT_PROC),
        sessions.idle(),
        _router(),
    ]


def _router() -> Json:
    return extension("envoy.filters.http.router", f"{_FILTERS}.router.v3.Router")


def _strip_on_entry() -> Json:
    names = (*headers.NEVER_FROM_CLIENTS, *headers.FROM_BODY)
    return extension(
        "envoy.http.early_header_mutation.header_mutation",
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation",
        mutations=[
            {"remove_on_match": {"key_matcher": {"prefix": headers.OWN_PREFIX, "ignore_case": True}}},
            *({"remove": name} for name in names if not name.startswith(headers.OWN_PREFIX)),
        ],
    )


def _refusals() -> Json:
    """Refuses methods that no server behind may be asked by, and hosts that are no host names: two Host
    headers, which Envoy joins by a comma and which each server would read in its own way, or a user's name.
    """
    methods = [(":method", {"exact": method}) for method in replies.REFUSED_METHODS]
    hosts = [(":authority", {"contains": each}) for each in ",@"]
    return extension(
        "envoy.filters.http.rbac",
        f"{_FILTERS}.rbac.v3.RBAC",
        rules={
            "action": "DENY",
            "policies": {replies.METHODS_REFUSED: _anybody(methods), replies.HOSTS_REFUSED: _anybody(hosts)},
        },
    )


def _anybody(refused: Sequence[tuple[str, Json]]) -> Json:
    """A policy for requests of which one of these headers has such a value."""
    rules = [{"header": {"name": name, "string_match": value}} for name, value in refused]
    return {"permissions": [{"or_rules": {"rules": rules}}], "principals": [{"any": True}]}


def _health() -> Json:
    """Answers load balancers: 200 while this Envoy serves, 503 once it drains."""
    return extension(
        "envoy.filters.http.health_check",
        f"{_FILTERS}.health_check.v3.HealthCheck",
        pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"safe_regex": {"regex": _HEALTH}}}],
    )


def _usage_rules(places: Sequence[tuple[str, tuple[str, ...]]]) -> list[Json]:
    return [
        {
            "selectors": [{"key": key} for key in path],
            "on_present": {"metadata_namespace": headers.USAGE_NAMESPACE, "key": name, "type": "NUMBER"},
        }
        for name, path in places
    ]


def _json_usage() -> Json:
    return extension(
        "envoy.filters.http.json_to_metadata",
        f"{_FILTERS}.json_to_metadata.v3.JsonToMetadata",
        response_rules={"rules": _usage_rules(USAGE), "allow_content_types_regex": {"regex": JSON_TYPES}},
    )


def _sse_usage() -> Json:
    parser = extension(
        "envoy.content_parsers.json",
        "envoy.extensions.content_parsers.json.v3.JsonContentParser",
        rules=[{"rule": rule} for rule in _usage_rules((*USAGE, *USAGE_OF_EVENTS))],
    )
    return extension(
        "envoy.filters.http.sse_to_metadata",
        f"{_FILTERS}.sse_to_metadata.v3.SseToMetadata",
        response_rules={"content_parser": parser, "max_event_size": MAX_EVENT_BYTES},
    )


def _route_headers() -> Json:
    """Makes the changes of request headers that routes and backends ask for, so that pickers see them."""
    return extension(
        names.ROUTE_HEADERS,
        f"{_FILTERS}.header_mutation.v3.HeaderMutation",
        most_specific_header_mutations_wins=True,
    )


def _default_decision() -> Json:
    return extension(
        "envoy.filters.http.set_metadata",
        f"{_FILTERS}.set_metadata.v3.Config",
        metadata=[
            {
                "metadata_namespace": headers.OWN_NAMESPACE,
                "value": {own_answers.DECIDED: own_answers.FALLBACK},
            }
        ],
    )


def _whole_body(settings: GatewaySettings) -> Json:
    """Off by itself."""
    limit = {"max_request_bytes": settings.body_limit_bytes}
    return extension(names.WHOLE_BODY, f"{_FILTERS}.buffer.v3.Buffer", **limit) | {"disabled": True}


def _access_logs(chain: Chain, settings: GatewaySettings) -> list[Json]:
    own = [] if settings.access_log is None else [access_log.access_log(settings.access_log)]
    listener = chain.table.partition("/")[0]
    return [_ends_of_requests(), own_answers.counter(settings, listener), own_answers.teller(), *own]


def _ends_of_requests() -> Json:
    """Tells our picker how a request ended, when it asked for that by setting its stream key."""
    key = {"filter": headers.OWN_NAMESPACE, "path": [{"key": "stream"}], "value": {"present_match": True}}
    log = extension(
        "envoy.access_loggers.http_grpc",
        "envoy.extensions.access_loggers.grpc.v3.HttpGrpcAccessLogConfig",
        common_config={
            "log_name": "headgate",
            "transport_api_version": "V3",
            "buffer_flush_interval": "0.02s",
            "buffer_size_bytes": 16384,
            "grpc_service": names.grpc(names.OWN_PICKER),
        },
    )
    return log | {"filter": {"metadata_filter": {"matcher": key, "match_if_key_not_found": False}}}
