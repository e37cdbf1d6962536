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


REFUSE_AT = 0.9
"""Part of the heap from which new requests are answered with 503."""

END_AT = (0.93, 0.99)
"""Parts of the heap between which more and more streams that hold more than `ENDED_FROM` bytes are reset."""

ENDED_FROM = 20
"""Power of two of the bytes that a stream must hold to be ended: 1 MiB."""


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
                "name": "envoy.load_shed_points.http1_server_abort_dispatch",
                "triggers": [{"name": heap, "threshold": {"value": END_AT[0]}}],
            }
        ],
        "bufferFactoryConfig": {"minimumAccountToTrackPowerOfTwo": ENDED_FROM},
        "actions": [
            {
                "name": f"envoy.overload_actions.{action}",
                "triggers": [{"name": heap, **trigger}],
            }
            for action, trigger in (
                ("shrink_heap", {"threshold": {"value": REFUSE_AT}}),
                ("stop_accepting_requests", {"threshold": {"value": REFUSE_AT}}),
                (
                    "reset_high_memory_stream",
                    {"scaled": {"scalingThreshold": END_AT[0], "saturationThreshold": END_AT[1]}},
                ),
            )
        ],
    }
