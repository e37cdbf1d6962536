"""Clusters (CDS): pools with override_host, plain backends, pickers."""

from collections.abc import Sequence

from headgate.gateway import ir
from headgate.gateway.envoy import mutual_tls, names, second_chance
from headgate.gateway.envoy.header_options import header
from headgate.gateway.envoy.names import Json, duration, extension, typed
from headgate.gateway.envoy.wire import Constant
from headgate.gateway.settings import GatewaySettings
from headgate.model import headers
from headgate.model.api_keys import ApiKey
from headgate.model.endpoints import ForeignPicker
from headgate.model.server_urls import is_ip

LIMIT = 40_000
"""Connections, pending requests, requests and retries: streams are long and the picker does the limiting."""

IDLE_S = 4.0
"""Idle connections are closed before the servers do it (uvicorn: 5 s), which would race with requests."""

_LB = "envoy.extensions.load_balancing_policies"
_FILTERS = "envoy.extensions.filters.http"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def pool(backend: ir.PoolBackend, settings: GatewaySettings, key: ApiKey | None = None) -> Json:
    """The cluster of an InferencePool: the picker names the host by metadata, nobody else can.

    Its servers are called with *key*, where there is one.
    """
    options = (
        _POOL_HTTP[backend.pool.app_protocol] if key is None else _pool_http(backend.pool.app_protocol, key)
    )
    cluster = _eds(backend, options, settings)
    return cluster | {"load_balancing_policy": _AS_PICKED[backend.pool.failure_mode]}


def hosts(backend: ir.HostsBackend, settings: GatewaySettings, key: ApiKey | None = None) -> Json:
    """The cluster of a plain backend: round robin; its servers are called with *key*."""
    policy = {"policies": [{"typed_extension_config": _ROUND_ROBIN}]}
    cluster = _eds(backend, _server_http(backend.protocol == "h2c", key=key), settings)
    return cluster | {"load_balancing_policy": policy}


def own_picker(settings: GatewaySettings) -> Json:
    """The cluster of our own picker."""
    address = names.socket_address(settings.picker_address)
    base = _base(names.OWN_PICKER, settings)
    if "pipe" in address:
        del base["upstream_connection_options"]  # TCP's options are none of a Unix socket's
    named = "socket_address" in address and not is_ip(address["socket_address"]["address"])
    if settings.picker_name:
        base["transport_socket"] = mutual_tls.transport_socket(settings.picker_name)
    return base | {
        "type": "STRICT_DNS" if named else "STATIC",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _picker_http()},
        "load_assignment": {
            "cluster_name": names.OWN_PICKER,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def relay(settings: GatewaySettings) -> Json:
    """The cluster that leads to the relay's listener.

    Each connection has one request, so that clients who read slowly hold up nobody else.
    """
    options = _picker_http({"max_concurrent_streams": 1})
    address = {"envoy_internal_address": {"server_listener_name": names.RELAY}}
    base = _base(names.RELAY, settings)
    del base["upstream_connection_options"]
    return base | {
        "type": "STATIC",
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
        "load_assignment": {
            "cluster_name": names.RELAY,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }


def issuer(name: str, origin: str, settings: GatewaySettings) -> Json:
    """The cluster of a server that tells the public keys of an issuer of tokens; *origin* is `scheme://host`,
    perhaps with a port."""
    scheme, _, authority = origin.partition("://")
    host, _, port = authority.partition(":")
    address = names.socket_address(f"{host}:{port or (443 if scheme == 'https' else 80)}")
    cluster = _base(name, settings) | {
        "type": "STRICT_DNS",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    }
    if scheme == "https":
        cluster["transport_socket"] = _upstream_tls(ir.UpstreamTls(host), settings)
    return cluster


def foreign_picker(picker: ForeignPicker, settings: GatewaySettings) -> Json:
    """The cluster of another vendor's picker.

    With full-duplex bodies nothing else bounds how long a picker takes, and a request can only fail open when
    no host is left to ask. So pickers are asked for a sign of life every second, on every connection and by
    a call (a stopped process still accepts connections); until that notices, one failed stream ejects its
    picker; and there is no panic routing. What a picker answers is no failure. TLS is not verified: pickers
    sign themselves.
    """
    name = names.picker(picker.service)
    cluster = _base(name, settings) | {
        "type": "EDS",
        "eds_cluster_config": _EDS,
        "ignore_health_on_host_removal": True,
        "typed_extension_protocol_options": {_HTTP_OPTIONS: _picker_http(_SIGN_OF_LIFE)},
        "common_lb_config": {"healthy_panic_threshold": {"value": 0}},
        "outlier_detection": _ONE_FAILURE_EJECTS,
        "close_connections_on_host_health_failure": True,
        "health_checks": [_ASKED_FOR_LIFE],
    }
    if picker.tls:
        cluster["transport_socket"] = extension(
            "envoy.transport_sockets.tls",
            f"{_TLS}.UpstreamTlsContext",
            common_tls_context={"alpn_protocols": ["h2"], "validation_context": {}},
        )
    return cluster


_DROP_OWN: list[Json] = [
    {"remove_on_match": {"key_matcher": {"prefix": prefix, "ignore_case": True}}}
    for prefix in headers.OWN_PREFIXES
]
"""Response headers that only the gateway and its picker may set, dropped from what a server says."""

_TLS = "envoy.extensions.transport_sockets.tls.v3"
_EDS: Json = Constant({"eds_config": {"ads": {}, "resource_api_version": "V3"}})
_ROUND_ROBIN = extension("envoy.load_balancing_policies.round_robin", f"{_LB}.round_robin.v3.RoundRobin")
_NOBODY = extension(
    "envoy.load_balancing_policies.subset",
    f"{_LB}.subset.v3.Subset",
    fallback_policy="NO_FALLBACK",
    subset_selectors=[{"keys": ["headgate.dev/nobody"]}],
    subset_lb_policy={"policies": [{"typed_extension_config": _ROUND_ROBIN}]},
)
"""Never finds a host: what the picker did not name is refused."""


def _metadata_key(namespace: str, key: str) -> Json:
    return {"key": namespace, "path": [{"key": key}]}


def _as_picked(fallback: Json) -> Json:
    override = extension(
        "envoy.load_balancing_policies.override_host",
        f"{_LB}.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": _metadata_key(headers.LB_NAMESPACE, headers.DESTINATION)}],
        selected_host_key=_metadata_key(headers.LB_NAMESPACE, headers.SERVED),
        fallback_policy={"policies": [{"typed_extension_config": fallback}]},
    )
    return Constant({"policies": [{"typed_extension_config": override}]})


_AS_PICKED = {"FailOpen": _as_picked(_ROUND_ROBIN), "FailClose": _as_picked(_NOBODY)}
"""By the pool's failure mode."""


def _base(name: str, settings: GatewaySettings) -> Json:
    return {
        "name": name,
        "connect_timeout": duration(settings.connect_timeout_s),
        "circuit_breakers": _MUCH,
        "upstream_connection_options": _WATCHED,
    }


_MUCH: Json = Constant(
    {
        "thresholds": [
            dict.fromkeys(("max_connections", "max_pending_requests", "max_requests", "max_retries"), LIMIT)
        ]
    }
)
_WATCHED: Json = Constant(
    {"tcp_keepalive": {"keepalive_probes": 3, "keepalive_time": 30, "keepalive_interval": 10}}
)


def _eds(backend: ir.Backend, options: Json, settings: GatewaySettings) -> Json:
    cluster = _base(backend.cluster, settings) | {
        "type": "EDS",
        "eds_cluster_config": _EDS,
        "ignore_health_on_host_removal": True,
        "typed_extension_protocol_options": {_HTTP_OPTIONS: options},
    }
    by_label = dict(backend.tls)
    for_all = by_label.pop("", None)
    if for_all is not None:
        cluster["transport_socket"] = _upstream_tls(for_all, settings)
    if by_label:
        cluster["transport_socket_matches"] = [
            {"name": label, "match": {"tls": label}, "transport_socket": _upstream_tls(tls, settings)}
            for label, tls in by_label.items()
        ]
    return cluster


def _upstream_tls(tls: ir.UpstreamTls, settings: GatewaySettings) -> Json:
    """TLS towards servers; of a cluster's endpoints those whose `transport_socket_match` metadata has the
    label, or all."""
    host = tls.hostname
    validation: Json = {}
    if not tls.insecure:
        names = tls.names or ((("IP_ADDRESS" if is_ip(host) else "DNS"), host),)
        validation = {
            "trusted_ca": {"filename": settings.ca_bundle}
            if tls.authorities is None
            else {"inline_string": tls.authorities},
            "match_typed_subject_alt_names": [
                {"san_type": kind, "matcher": {"exact": name}} for kind, name in names
            ],
        }
    context: Json = {"common_tls_context": {"validation_context": validation}}
    if tls.client is not None:
        context["common_tls_context"]["tls_certificate_sds_secret_configs"] = [
            {"name": tls.client, "sds_config": {"ads": {}, "resource_api_version": "V3"}}
        ]
    if not is_ip(host):
        context["sni"] = host
    return extension("envoy.transport_sockets.tls", f"{_TLS}.UpstreamTlsContext", **context)


_SIGN_OF_LIFE: Json = {"connection_keepalive": {"interval": "1s", "timeout": "1s"}}

_ASKED_FOR_LIFE: Json = {
    "timeout": "1s",
    "interval": "1s",
    "no_traffic_interval": "1s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "always_log_health_check_failures": False,
    "http_health_check": {
        "codec_client_type": "HTTP2",
        "host": "picker",
        "path": "/headgate.Picker/Alive",
        "method": "POST",
        "request_headers_to_add": [
            {"header": {"key": "content-type", "value": "application/grpc"}},
            {"header": {"key": "te", "value": "trailers"}},
        ],
        "expected_statuses": [{"start": 200, "end": 600}],
    },
}
"""A gRPC call that no server knows, and every one answers: not all pickers have a health service here."""

_ONE_FAILURE_EJECTS: Json = {
    "split_external_local_origin_errors": True,
    "consecutive_local_origin_failure": 1,
    "enforcing_consecutive_local_origin_failure": 100,
    "enforcing_local_origin_success_rate": 0,
    "enforcing_consecutive_5xx": 0,
    "enforcing_consecutive_gateway_failure": 0,
    "enforcing_success_rate": 0,
    "interval": "0.5s",
    "base_ejection_time": "3s",
    "max_ejection_time": "3s",
    "max_ejection_percent": 100,
}


def _picker_http(options: Json | None = None) -> Json:
    """HTTP/2, which gRPC is."""
    return typed(_HTTP_OPTIONS, explicit_http_config={"http2_protocol_options": dict(options or {})})


def _server_http(
    h2c: bool, first: Sequence[Json] = (), removed: Sequence[str] = (), key: ApiKey | None = None
) -> Json:
    """Towards model servers; *first* are HTTP filters, *removed* request headers, *key* what they
    want to see.

    What servers claim about the decision is dropped.
    """
    mutations: Json = {"response_mutations": _DROP_OWN, "response_trailers_mutations": _DROP_OWN}
    requests: list[Json] = [{"remove": name} for name in removed]
    if key is not None:
        requests.append({"append": header("authorization", f"Bearer {key.text}".replace("%", "%%"))})
    if requests:
        mutations["request_mutations"] = requests
    options = typed(
        _HTTP_OPTIONS,
        explicit_http_config={"http2_protocol_options" if h2c else "http_protocol_options": {}},
        http_filters=[
            *first,
            extension(
                "envoy.filters.http.header_mutation",
                f"{_FILTERS}.header_mutation.v3.HeaderMutation",
                mutations=mutations,
            ),
            extension("envoy.filters.http.upstream_codec", f"{_FILTERS}.upstream_codec.v3.UpstreamCodec"),
        ],
    )
    if not h2c:
        options["common_http_protocol_options"] = {"idle_timeout": duration(IDLE_S)}
    return options


def _pool_http(protocol: str, key: ApiKey | None = None) -> Json:
    return _server_http(protocol == "h2c", second_chance.filters(), headers.NEVER_TO_SERVERS, key)


_POOL_HTTP = {each: Constant(_pool_http(each)) for each in ("http", "h2c")}
"""By the protocol of a pool whose servers want no key."""
