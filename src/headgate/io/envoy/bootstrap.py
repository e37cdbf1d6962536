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
_HTTP_OPTIONS = f"{_TYPES}.upstreams.http.v3.HttpProtocolOptions"

LOG_LEVELS: Mapping[str, str] = {"error": "error", "warning": "warning", "info": "warning", "debug": "info"}
"""Our log level → Envoy's: at `info` Envoy tells of every cluster and listener."""


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
        "overloadManager": {
            "resourceMonitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typedConfig": {"@type": _CONNECTIONS, "maxActiveDownstreamConnections": MAX_CONNECTIONS},
                }
            ]
        },
    }


def command(options: EnvoyOptions) -> list[str]:
    """Write the bootstrap into the folder; the command line that runs Envoy with it."""
    path = options.folder / "envoy.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(bootstrap(options))))
    return [
        str(options.binary),
        *("-c", str(path)),
        *("--concurrency", str(options.concurrency)),
        *("--log-level", LOG_LEVELS.get(options.log_level, "warning")),
        *("--log-format", "%l %n: %v"),
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
