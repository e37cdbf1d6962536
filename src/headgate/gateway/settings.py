"""What the translation is told besides the objects."""

from collections.abc import Mapping

import msgspec

from headgate.model.endpoints import BodyMode

CONTROLLER = "headgate.dev/gateway-controller"
"""What GatewayClasses call us, unless we are told another name."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of the gateway half; the command line's values, never from objects. Times in seconds."""

    controller: str = CONTROLLER
    """`controllerName` of the GatewayClasses that are ours."""
    port: int = 8080
    """Where declared port 80 is bound."""
    https_port: int = 8443
    """Where declared port 443 is bound."""
    port_map: Mapping[int, int] = msgspec.field(default_factory=dict)
    """Declared port → bound port; counts before the two above. Others are bound as declared."""
    grouped_from: int = 200
    """Hosts from which on a table is cut into groups of hosts; see `gateway/host_groups.py`."""
    per_gateway: bool = False
    """Each Gateway has an Envoy of its own; otherwise one Envoy serves all of them."""
    address: str = "0.0.0.0"
    """Address that listeners bind."""
    picker_address: str = "127.0.0.1:9002"
    """`ip:port`, `host:port` or `unix:/path` of our own picker: ext_proc and access log."""
    picker_name: str = ""
    """What the certificate of our own picker names, where it is asked by mutual TLS, as Envoys that are made
    on a cluster can; empty: it is asked in plain text."""
    probe_socket: str | None = None
    """Path of a Unix socket on which Envoy is asked whether each pool's picker answers; None: none."""
    picker_timeout_s: float = 2.0
    """Longest silence of a picker on one message."""
    picker_max_wait_s: float = 300.0
    """Longest time a foreign picker may ask for with override_message_timeout; our own asks for none."""
    foreign_body_mode: BodyMode = "full-duplex"
    """Of foreign pickers of which nothing else is known."""
    body_limit_bytes: int = 64 * 1024 * 1024
    """Longest request body that is buffered for the picker; beyond it the answer is 413."""
    body_budget_bytes: int = 1 << 30
    """Long bodies (1 MB and more) that are held at once, in all; beyond it the answer is 503."""
    body_timeout_s: float = 60.0
    """Longest time for a request to arrive whole, the picker's turn included; 0: any."""
    headers_timeout_s: float = 10.0
    """Longest time for the headers of a request to arrive whole."""
    idle_timeout_s: float = 900.0
    """A stream without a byte in either direction for so long is ended."""
    connect_timeout_s: float = 1.0
    rescue_s: float = 600.0
    """A request whose answer has not begun after so long is taken away from its endpoint and given to another
    one, once; 0: never. Plain answers begin when they are whole."""
    access_log: str | None = None
    """File that Envoy writes a line to for each request, as Envoy reaches it; None: none."""
    ca_bundle: str = "/etc/ssl/certs/ca-certificates.crt"
    """File with the CA certificates that https model servers are verified by, as Envoy reaches it."""
    insecure: bool = False
    """Certificates of model servers are not verified, unless their objects name their CA."""
