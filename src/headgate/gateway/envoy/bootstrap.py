"""Envoy's bootstrap, what it is told before it can ask: who it is, where the xDS server is, its limits."""

from collections.abc import Mapping
from typing import Any

Json = Mapping[str, Any]

XDS_CLUSTER = "headgate-xds"

MAX_CONNECTIONS = 100_000
"""Connections from clients; file descriptors usually run out first."""

_TYPES = "type.googleapis.com/envoy.extensions"
_CONNECTIONS = f"{_TYPES}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
_HEAP = f"{_TYPES}.resource_monitors.fixed_heap.v3.FixedHeapConfig"
_HTTP_OPTIONS = f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions"

INTERNAL_LISTENERS: Json = {
    "name": "envoy.bootstrap.internal_listener",
    "typedConfig": {"@type": f"{_TYPES}.bootstrap.internal_listener.v3.InternalListener"},
}
"""Listeners that only this Envoy itself reaches, such as the relay's."""

FLUSH_MS = 500
"""Longest time that Envoy keeps lines of the access log to itself; it writes them 64 KB at a time."""

ARGUMENTS = (
    *("--log-format", "%l %n: %v"),
    *("--file-flush-interval-msec", str(FLUSH_MS)),
    "--disable-hot-restart",
    *("--drain-time-s", "10", "--drain-strategy", "immediate"),
)
"""Of every Envoy's command line."""


def bootstrap(
    node: str,
    admin: Json,
    xds: Json,
    heap_bytes: int,
    static: Json | None = None,
    *,
    patient: bool = False,
) -> Json:
    """The bootstrap configuration: everything else comes by delta ADS.

    *admin*: address of the admin interface. *xds*: fields of the xDS server's cluster: type, load assignment,
    perhaps a transport socket. *heap_bytes*: see `_overload`. *static*: further static resources.
    *patient*: Envoy is not ready before it was told everything, however long that takes.
    """
    ads: Json = {"ads": {}, "resourceApiVersion": "V3"}
    if patient:
        ads = {**ads, "initialFetchTimeout": "0s"}
    further = static or {}
    return {
        "node": {"id": node, "cluster": "headgate"},
        "admin": {"address": admin},
        "dynamicResources": {
            "adsConfig": {
                "apiType": "DELTA_GRPC",
                "transportApiVersion": "V3",
                "setNodeOnFirstMessageOnly": True,
                "grpcServices": [{"envoyGrpc": {"clusterName": XDS_CLUSTER}}],
            },
            "cdsConfig": ads,
            "ldsConfig": ads,
        },
        "staticResources": {
            **further,
            "clusters": [_xds_cluster(xds), *further.get("clusters", ())],
        },
        "layeredRuntime": RUNTIME,
        "bootstrapExtensions": [INTERNAL_LISTENERS],
        "overloadManager": _overload(heap_bytes),
    }


def assignment(cluster: str, address: Json) -> Json:
    """A load assignment of one address."""
    return {
        "clusterName": cluster,
        "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}],
    }


def socket(host: str, port: int) -> Json:
    """An address of TCP."""
    return {"socketAddress": {"address": host, "portValue": port}}


def _xds_cluster(xds: Json) -> Json:
    return {
        "name": XDS_CLUSTER,
        "connectTimeout": "1s",
        **xds,
        "typedExtensionProtocolOptions": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "explicitHttpConfig": {
                    "http2ProtocolOptions": {"connectionKeepalive": {"interval": "5s", "timeout": "10s"}}
                },
            }
        },
    }


REGEX_PROGRAM = 200_000
"""Instructions of a compiled regular expression that Envoy takes: more than any that `gateway/paths.py` lets
pass. By itself Envoy takes 100, which the names of four models exceed, and refuses all routes of the port."""

RUNTIME: Json = {
    "layers": [
        {
            "name": "headgate",
            "staticLayer": {
                "re2.max_program_size.error_level": REGEX_PROGRAM,
                "re2.max_program_size.warn_level": REGEX_PROGRAM,
            },
        }
    ]
}
"""What Envoy takes from nowhere else."""


SPARE_AT = 0.85
"""Part of the heap from which Envoy gives back what it does not need, and idle connections sooner."""

REFUSE_AT = 0.9
"""Part of the heap from which new requests are answered with 503, and connections end with their answers."""

CLOSE_AT = 0.95
"""Part of the heap from which no connection is accepted."""

IDLE_S = 2
"""So soon connections without a request are closed when the heap is full up to `REFUSE_AT`. Streams keep
their time: an answer may be silent for minutes before its first token."""

END_AT = (0.93, 0.99)
"""Parts of the heap between which more and more streams that hold more than `ENDED_FROM` bytes are reset."""

ENDED_FROM = 20
"""Power of two of the bytes that a stream must hold to be ended: 1 MiB."""


_SOONER: Json = {
    "@type": "type.googleapis.com/envoy.config.overload.v3.ScaleTimersOverloadActionConfig",
    "timerScaleFactors": [
        {"timer": timer, "minTimeout": f"{IDLE_S}s"}
        for timer in ("HTTP_DOWNSTREAM_CONNECTION_IDLE", "TRANSPORT_SOCKET_CONNECT")
    ],
}


def _overload(heap_bytes: int) -> Json:
    """Whatever clients do, Envoy keeps to its memory: it would be killed with all requests otherwise.

    Most bodies never come this far: their number is bounded, and so is the time that they take.
    """
    heap = "envoy.resource_monitors.fixed_heap"
    return {
        "refreshInterval": "0.1s",
        "resourceMonitors": [
            {
                "name": "envoy.resource_monitors.global_downstream_max_connections",
                "typedConfig": {"@type": _CONNECTIONS, "maxActiveDownstreamConnections": MAX_CONNECTIONS},
            },
            {"name": heap, "typedConfig": {"@type": _HEAP, "maxHeapSizeBytes": heap_bytes}},
        ],
        "loadshedPoints": [
            {
                "name": f"envoy.load_shed_points.{point}",
                "triggers": [{"name": heap, "threshold": {"value": threshold}}],
            }
            for point, threshold in (
                ("http1_server_abort_dispatch", END_AT[0]),
                ("http2_server_go_away_on_dispatch", REFUSE_AT),
                ("http2_server_go_away_and_close_on_dispatch", CLOSE_AT),
                ("hcm_ondata_creating_codec", CLOSE_AT),
                ("tcp_listener_accept", CLOSE_AT),
            )
        ],
        "bufferFactoryConfig": {"minimumAccountToTrackPowerOfTwo": ENDED_FROM},
        "actions": [
            {
                "name": f"envoy.overload_actions.{action}",
                "triggers": [{"name": heap, **trigger}],
                **({"typedConfig": _SOONER} if action == "reduce_timeouts" else {}),
            }
            for action, trigger in (
                ("shrink_heap", {"threshold": {"value": SPARE_AT}}),
                (
                    "reduce_timeouts",
                    {"scaled": {"scalingThreshold": SPARE_AT, "saturationThreshold": REFUSE_AT}},
                ),
                ("stop_accepting_requests", {"threshold": {"value": REFUSE_AT}}),
                ("disable_http_keepalive", {"threshold": {"value": REFUSE_AT}}),
                ("stop_accepting_connections", {"threshold": {"value": CLOSE_AT}}),
                (
                    "reset_high_memory_stream",
                    {"scaled": {"scalingThreshold": END_AT[0], "saturationThreshold": END_AT[1]}},
                ),
            )
        ],
    }
