"""How one Envoy of this machine is run: its bootstrap file and its command line."""

from collections.abc import Mapping
from pathlib import Path

import msgspec

from headgate.gateway.envoy import bootstrap as pure
from headgate.gateway.envoy.bootstrap import ARGUMENTS, XDS_CLUSTER, Json

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
    if options.admin_port is None:
        admin: Json = {"pipe": {"path": str(options.admin_socket), "mode": 0o600}}
    else:
        admin = pure.socket("127.0.0.1", options.admin_port)
    if options.xds_port is None:
        address: Json = {"pipe": {"path": str(options.xds_socket)}}
    else:
        address = pure.socket("127.0.0.1", options.xds_port)
    xds = {"type": "STATIC", "loadAssignment": pure.assignment(XDS_CLUSTER, address)}
    return pure.bootstrap(options.node, admin, xds, options.heap_bytes)


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
        *ARGUMENTS,
    ]
