"""What Envoy is told before it can ask: who it is, where the xDS server is, where its admin listens."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

Json = Mapping[str, Any]

XDS_CLUSTER = "headgate-xds"

MAX_CONNECTIONS = 100_000
"""Connections from clients; file descriptors usually run out first."""

_TYPES = "type.googleapis.com/envoy.extensions"
_CONNECTIONS = f"{_TYPES}.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
_HEAP = f"{_TYPES}.resource_monitors.fixed_heap.v3.FixedHeapConfig"
_HTTP_OPTIONS = f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions"

LOG_LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "info": "warning", "debug": "info"}
"""Our log level → Envoy's: at `info` Envoy tells of every cluster and listener."""

DEPRECATIONS = "misc"
"""The logger by which Envoy warns of deprecated fields; which we send is nothing that a user could change."""


class EnvoyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How one Envoy process is run."""

    binary: Path
    folder: Path
    """Writable; the bootstrap file and the sockets live there."""
    xds_port: int | None = None
    """Loopback port of the delta ADS server; None: a Unix socket in `folder`."""
    admin_port: int | None = None
    """Loopback port of Envoy's admin; None: a Unix socket in `folder`, which only this user reaches."""
    node: str = "headgate"
    concurrency: int = 2
    """Worker threads."""
    heap_bytes: int = 2 << 30
    """Memory that Envoy may have allocated; near it, it refuses requests and ends the largest ones."""
    log_level: str = "info"
    """Ours: error, warning, info or debug."""

    @property
    def admin_socket(self) -> Path:
        """Where the admin socket is when there is no port."""
        return self.folder / "envoy.sock"

    @property
    def xds_socket(self) -> Path:
        """Where the xDS server is when it has no port."""
        return self.folder / "xds.sock"


def bootstrap(options: EnvoyOptions) -> Json:
    """The bootstrap configuration: everything else comes by ADS."""
    ads: Json = {"ads": {}, "resourceApiVersion": "V3"}
    if options.admin_port is None:
        admin: Json = {"pipe": {"path": str(options.admin_socket), "mode": 0o600}}
    else:
        admin = {"socketAddress": {"address": "127.0.0.1", "portValue": options.admin_port}}
    return {
        "node": {"id": options.node, "cluster": "headgate"},
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
        "staticResources": {"clusters": [_xds_cluster(options)]},
        "layeredRuntime": RUNTIME,
        "overloadManager": _overload(options.heap_bytes),
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


FLUSH_MS = 500
"""Longest time that Envoy keeps lines of the access log to itself; it writes them 64 KB at a time."""


def command(options: EnvoyOptions) -> list[str]:
    """Write the bootstrap into the folder; the command line that runs Envoy with it."""
    path = options.folder / "envoy.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(bootstrap(options))))
    level = LOG_LEVELS.get(options.log_level, "warning")
    return [
        str(options.binary),
        *("-c", str(path)),
        *("--concurrency", str(options.concurrency)),
        *("--log-level", level),
        *("--component-log-level", f"{DEPRECATIONS}:{'info' if level == 'info' else 'error'}"),
        *("--log-format", "%l %n: %v"),
        *("--file-flush-interval-msec", str(FLUSH_MS)),
        "--disable-hot-restart",
        *("--drain-time-s", "10", "--drain-strategy", "immediate"),
    ]


def _xds_cluster(options: EnvoyOptions) -> Json:
    if options.xds_port is None:
        address: Json = {"pipe": {"path": str(options.xds_socket)}}
    else:
        address = {"socketAddress": {"address": "127.0.0.1", "portValue": options.xds_port}}
    return {
        "name": XDS_CLUSTER,
        "type": "STATIC",
        "connectTimeout": "1s",
        "loadAssignment": {
            "clusterName": XDS_CLUSTER,
            "endpoints": [{"lbEndpoints": [{"endpoint": {"address": address}}]}],
        },
        "typedExtensionProtocolOptions": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP_OPTIONS,
                "explicitHttpConfig": {
                    "http2ProtocolOptions": {"connectionKeepalive": {"interval": "5s", "timeout": "10s"}}
                },
            }
        },
    }
