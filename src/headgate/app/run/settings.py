"""What `headgate run` was asked for, and the command lines of the children that follow from it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from headgate.app.run.listen_ports import Ports
from headgate.io.envoy.bootstrap import EnvoyOptions

DRAIN_TIMEOUT_S = 600.0
"""As long as a long answer of a large model takes to stream."""


LONGEST_QUEUE_S = 240.0
"""No request waits longer in the picker: Envoy grants `LONGEST_WAIT_S`."""
QUEUE_SHARE = 0.8
"""Share of `body_timeout_s` that a request may wait: to Envoy that is a part of its arrival."""

AccessLog = Literal["stdout", "off"] | Path
"""Where the access log goes; a file is written by Envoy itself."""


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The command line of `headgate run`. Times in seconds."""

    urls: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    ports: Ports = Ports()
    port_map: Mapping[int, int] = msgspec.field(default_factory=dict)
    """Port of a listener as declared → where it is bound."""
    host: str = "0.0.0.0"
    """Address of the gateway's own listener; everything else is loopback only."""
    policy: str = "default"
    drain_timeout_s: float = DRAIN_TIMEOUT_S
    picker_timeout_s: float = 2.0
    scrape_interval_s: float = 0.5
    body_limit_bytes: int = 64 << 20
    body_timeout_s: float = 60.0
    flow_control: bool = True
    """Requests wait in the picker while every endpoint is full."""
    trust_headers: tuple[str, ...] = ()
    """What is believed of clients' headers: `fairness`, `objective`, `slo`."""
    hold_empty_s: float = 0.0
    """So long a request waits for a pool without endpoints to get one."""
    rescue_s: float = 600.0
    """A request whose answer has not begun after so long goes to another endpoint; 0: never."""
    envoy_memory_bytes: int = 2 << 30
    """What Envoy may allocate; half of it may be long request bodies."""
    upstream_ca: Path | None = None
    """File of the CA certificates of https model servers; None: as the children find it."""
    insecure_upstream: bool = False
    api_key_file: Path | None = None
    """Keys of model servers whose objects name none, as `io.api_keys` reads them."""
    client_keys: Path | None = None
    """Who may call where no policy says it, as `io.client_keys` reads it; None: anybody."""
    access_log: AccessLog = "off"
    log_level: Literal["error", "warning", "info", "debug"] = "info"


class Folder(msgspec.Struct, frozen=True):
    """The run's private folder."""

    path: Path

    @property
    def controller_socket(self) -> Path:
        """Admin API of the controller."""
        return self.path / "controller.sock"

    @property
    def picker_socket(self) -> Path:
        """Admin API of the picker."""
        return self.path / "picker.sock"

    @property
    def probe_socket(self) -> Path:
        """Where Envoy is asked whether a pool's picker answers."""
        return self.path / "probe.sock"

    @property
    def access_pipe(self) -> Path:
        """Where Envoy writes the access log that goes to standard output."""
        return self.path / "access.pipe"

    @property
    def extproc_socket(self) -> Path:
        """The picker's ext_proc, access log and health."""
        return self.path / "extproc.sock"


def controller_command(settings: RunSettings, folder: Folder) -> list[str]:
    """The gateway half as a child process."""
    path = folder.access_pipe if settings.access_log == "stdout" else settings.access_log
    logging = [] if path == "off" else ["--access-log", str(path)]
    return [
        *_headgate("controller", settings),
        *("--port", str(settings.ports.gateway), "--host", settings.host),
        *("--https-port", str(settings.ports.https)),
        *_port_map(settings),
        *("--xds-socket", str(folder.path / "xds.sock")),
        *("--picker-address", f"unix:{folder.extproc_socket}"),
        *("--probe-socket", str(folder.probe_socket)),
        *("--picker-timeout", str(settings.picker_timeout_s)),
        *("--body-limit", str(settings.body_limit_bytes)),
        *("--body-budget", str(settings.envoy_memory_bytes // 2)),
        *("--body-timeout", f"{settings.body_timeout_s:f}"),
        *("--rescue-after", f"{settings.rescue_s:f}"),
        *(() if settings.client_keys is None else ("--client-keys", str(settings.client_keys))),
        *_own_ports(settings),
        *("--admin-socket", str(folder.controller_socket)),
        *logging,
    ]


def picker_command(settings: RunSettings, folder: Folder) -> list[str]:
    """The picker as a child process."""
    return [
        *_headgate("picker", settings),
        *("--grpc-socket", str(folder.extproc_socket), "--no-secure-serving"),
        *("--grpc-health-port", "-1"),
        *("--metrics-port", str(settings.ports.metrics)),
        *("--policy", settings.policy),
        *("--body-limit", str(settings.body_limit_bytes)),
        *("--scrape-interval", str(settings.scrape_interval_s)),
        *_flow(settings),
        *("--drain-timeout", "3s"),  # Envoy has been drained before the picker is asked to end
        *(() if settings.api_key_file is None else ("--api-key-file", str(settings.api_key_file))),
        *_own_ports(settings),
        *("--admin-socket", str(folder.picker_socket)),
    ]


def envoy_options(settings: RunSettings, folder: Folder, binary: Path, concurrency: int) -> EnvoyOptions:
    """How Envoy is run."""
    return EnvoyOptions(
        binary=binary,
        folder=folder.path,
        admin_port=settings.ports.envoy_admin,
        concurrency=concurrency,
        heap_bytes=settings.envoy_memory_bytes,
        log_level=settings.log_level,
    )


def _port_map(settings: RunSettings) -> list[str]:
    found = settings.port_map.items()
    return [part for declared, port in found for part in ("--port-map", f"{declared}:{port}")]


def _flow(settings: RunSettings) -> list[str]:
    bound_s = QUEUE_SHARE * settings.body_timeout_s or LONGEST_QUEUE_S
    return [
        "--flow-control" if settings.flow_control else "--no-flow-control",
        *("--trust-headers", ",".join(settings.trust_headers) or "none"),
        *("--queue-timeout", f"{min(LONGEST_QUEUE_S, bound_s):f}"),
        *("--hold-empty", f"{min(settings.hold_empty_s, LONGEST_QUEUE_S, bound_s):f}"),
    ]


def _own_ports(settings: RunSettings) -> list[str]:
    """Ports that no model server may have."""
    ports = msgspec.structs.astuple(settings.ports)
    return [part for port in ports if port is not None for part in ("--own-port", str(port))]


def _headgate(verb: str, settings: RunSettings) -> list[str]:
    files = [part for path in settings.files for part in ("-f", str(path))]
    urls = [part for url in settings.urls for part in ("--url", url)]
    log = ("--log-level", settings.log_level, "--log-format", "json")
    trust = ["--upstream-ca", str(settings.upstream_ca)] if settings.upstream_ca is not None else []
    if settings.insecure_upstream:
        trust.append("--insecure-upstream")
    return [sys.executable, "-m", "headgate", verb, *files, *urls, *trust, *log, "--supervised"]
