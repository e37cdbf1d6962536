"""A real Envoy configured by hand that asks a picker, as other vendors' gateways and as ours do it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

from tests.live.harness.envoy import Json, assignment, listener, running_envoy, typed
from tests.live.harness.processes import free_port

from headgate.io.extproc.tls import KeyPair

BodyMode = Literal["duplex", "lean", "skip"]
"""`duplex`: as foreign gateways; `lean`: as our own; `skip`: the picker never hears of the response."""

PROCESSING: dict[BodyMode, Json] = {
    "duplex": {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": "FULL_DUPLEX_STREAMED",
        "response_body_mode": "FULL_DUPLEX_STREAMED",
        "request_trailer_mode": "SEND",
        "response_trailer_mode": "SEND",
    },
    "lean": {
        "request_header_mode": "SEND",
        "response_header_mode": "SEND",
        "request_body_mode": "BUFFERED",
        "response_body_mode": "STREAMED",
    },
    "skip": {
        "request_header_mode": "SEND",
        "response_header_mode": "SKIP",
        "request_body_mode": "BUFFERED",
        "response_body_mode": "NONE",
    },
}

USAGE = {
    "prompt": ("usage", "prompt_tokens"),
    "completion": ("usage", "completion_tokens"),
    "cached": ("usage", "prompt_tokens_details", "cached_tokens"),
}


def _ext_proc(mode: BodyMode) -> Json:
    service: Json = {"envoy_grpc": {"cluster_name": "picker"}}
    if mode == "lean":
        service["initial_metadata"] = [{"key": "x-headgate-lean", "value": "1"}]
    return typed(
        "filters.http.ext_proc.v3.ExternalProcessor",
        grpc_service=service,
        processing_mode=PROCESSING[mode],
        message_timeout="5s",
        status_on_error={"code": "ServiceUnavailable"},
        metadata_options={
            "receiving_namespaces": {"untyped": ["envoy.lb", "headgate"]},
            "forwarding_namespaces": {"untyped": ["envoy.lb", "envoy.lb.subset_hint"]},
        },
    )


def _sse_usage() -> Json:
    rules = [
        {
            "rule": {
                "selectors": [{"key": key} for key in path],
                "on_present": {"metadata_namespace": "headgate.usage", "type": "NUMBER", "key": name},
            }
        }
        for name, path in USAGE.items()
    ]
    parser = {"name": "json", "typed_config": typed("content_parsers.json.v3.JsonContentParser", rules=rules)}
    return typed("filters.http.sse_to_metadata.v3.SseToMetadata", response_rules={"content_parser": parser})


def _access_log() -> Json:
    common = {
        "log_name": "headgate",
        "transport_api_version": "V3",
        "buffer_flush_interval": "0.05s",
        "buffer_size_bytes": 1,
        "grpc_service": {"envoy_grpc": {"cluster_name": "picker"}},
    }
    config = typed("access_loggers.grpc.v3.HttpGrpcAccessLogConfig", common_config=common)
    return {"name": "als", "typed_config": config}


def _manager(mode: BodyMode) -> Json:
    """The connection manager's part that depends on how the picker is asked."""
    route: Json = {"match": {"prefix": "/"}, "route": {"cluster": "pool", "timeout": "0s"}}
    if mode != "duplex":
        route["request_body_buffer_limit"] = 64 << 20
    filters = {
        **({"sse_to_metadata": _sse_usage()} if mode == "lean" else {}),
        "ext_proc": _ext_proc(mode),
        "router": typed("filters.http.router.v3.Router"),
    }
    return {
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "access_log": [_access_log()] if mode == "lean" else [],
        "http_filters": [
            {"name": f"envoy.filters.http.{name}", "typed_config": config} for name, config in filters.items()
        ],
    }


def _pool(endpoints: list[str]) -> Json:
    """A cluster that goes where the picker's metadata says, else round."""
    source = {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint"}]}
    served = {"key": "envoy.lb", "path": [{"key": "x-gateway-destination-endpoint-served"}]}
    round_robin = typed("load_balancing_policies.round_robin.v3.RoundRobin")
    override = typed(
        "load_balancing_policies.override_host.v3.OverrideHost",
        override_host_sources=[{"metadata": source}],
        selected_host_key=served,
        fallback_policy=_policy("round-robin", round_robin),
    )
    return {
        "name": "pool",
        "type": "STATIC",
        "load_balancing_policy": _policy("override", override),
        "load_assignment": assignment("pool", endpoints),
    }


def _policy(name: str, config: Json) -> Json:
    return {"policies": [{"typed_extension_config": {"name": name, "typed_config": config}}]}


def _picker(port: int, tls: bool, client: KeyPair | None) -> Json:
    http2 = typed(
        "upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}}
    )
    cluster: Json = {
        "name": "picker",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": assignment("picker", [f"127.0.0.1:{port}"]),
    }
    if tls:
        shown = []
        if client is not None:
            pair = {"private_key": client.key, "certificate_chain": client.chain}
            shown.append({name: {"inline_string": pem.decode()} for name, pem in pair.items()})
        common = {"tls_certificates": shown}
        context = typed("transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context=common)
        cluster["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": context}
    return cluster


@asynccontextmanager
async def envoy_with_picker(
    mode: BodyMode,
    folder: Path,
    picker_port: int,
    endpoints: list[str],
    *,
    tls: bool,
    client: KeyPair | None = None,
) -> AsyncIterator[str]:
    """Its URL: every request asks the picker and goes to one of *endpoints* (`ip:port`).

    *client* is the certificate that it shows to the picker.
    """
    port = free_port()
    # Far below a large body, so that bodies come to the picker in many pieces.
    front = {**listener(port, _manager(mode)), "per_connection_buffer_limit_bytes": 32768}
    async with running_envoy([front], [_pool(endpoints), _picker(picker_port, tls, client)], folder):
        yield f"http://127.0.0.1:{port}"
