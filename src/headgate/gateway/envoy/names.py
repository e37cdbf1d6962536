"""Names of resources and filters, and small shapes that all renderers use."""

from typing import Any

from headgate.model.endpoints import Endpoint
from headgate.model.ids import PoolKey

Json = dict[str, Any]

EXT_PROC = "envoy.filters.http.ext_proc"
OWN_EXT_PROC = "headgate.own_ext_proc"
"""Asks our own picker for pools of which a route says nothing (`asking.own_ext_proc`)."""
LATE_EXT_PROC = "headgate.late_ext_proc"
"""Asks foreign pickers that answer the headers only when they have the whole body."""
WHOLE_BODY = "headgate.whole_body"
"""Holds a request until its body is there, for those pickers."""
UPGRADE_EXT_PROC = "headgate.upgrade_ext_proc"
"""Asks foreign pickers for connections that become WebSockets, which have no body to wait for."""
OWN_UPGRADE_EXT_PROC = "headgate.own_upgrade_ext_proc"
"""Asks our own picker for those."""
CORS = "envoy.filters.http.cors"
ROUTE_HEADERS = "headgate.route_headers"
"""The filter that makes a route's changes of request headers, before the picker sees them."""
OWN_PICKER = "picker/own"
RELAY = "relay"
"""The way over a listener of Envoy's own (`relay`)."""
NO_BACKEND = "none/invalid-backend"
"""A cluster that never exists: a share of a rule that leads there is answered with 500."""


def certificate(secret: str) -> str:
    """The resource of a certificate; *secret* is `namespace/name`."""
    return f"{CERTIFICATE}/{secret}"


CERTIFICATE = "certificate"

POOL, SERVICE, MODEL_SERVER, PICKER = "pool", "service", "server", "picker"
"""What clusters' names begin with."""
POOL_IMPORT = "import"
"""The same of imports of pools, which have no clusters of their own."""


def pool(key: PoolKey) -> str:
    """The cluster of an InferencePool."""
    return f"{POOL}/{key}"


def picker(service: str) -> str:
    """The cluster of a foreign picker; *service* is `namespace/name:port`."""
    return f"{PICKER}/{service}"


def grpc(cluster: str) -> Json:
    """An Envoy gRPC client of *cluster*.

    Its authority is said because Envoy's own, the cluster's name, would be no valid one: strict HTTP/2
    servers reset such streams.
    """
    return {"envoy_grpc": {"cluster_name": cluster, "authority": cluster.replace("/", ".")}}


def tls_label(endpoint: Endpoint) -> str:
    """What an endpoint's metadata calls the TLS settings it is reached with; equal for equal settings."""
    return tls_label_of(endpoint.hostname, endpoint.ca_file, endpoint.insecure)


def tls_label_of(hostname: str, ca_file: str, insecure: bool) -> str:
    """The same of a server's settings."""
    return " ".join([hostname, *([ca_file] if ca_file else ["insecure"] if insecure else [])])


def service(namespace: str, name: str, port: int) -> str:
    """The cluster of a Service port."""
    return f"{SERVICE}/{namespace}/{name}:{port}"


def model_server(namespace: str, name: str) -> str:
    """The cluster of a ModelServer that is a backend by itself."""
    return f"{MODEL_SERVER}/{namespace}/{name}"


def typed(type_name: str, **fields: Any) -> Json:
    """An Any in protobuf JSON."""
    return {"@type": f"type.googleapis.com/{type_name}", **fields}


def extension(name: str, type_name: str, **fields: Any) -> Json:
    """A TypedExtensionConfig."""
    return {"name": name, "typed_config": typed(type_name, **fields)}


SKIPPED: Json = {
    "action": {
        "name": "skip",
        "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter"),
    }
}
"""What the matcher of an ExtensionWithMatcher says of requests that its filter is not for."""


def skipped_where(predicate: Json) -> Json:
    """A matcher that says `SKIPPED` where *predicate* holds."""
    return {"matcher_list": {"matchers": [{"predicate": predicate, "on_match": SKIPPED}]}}


def duration(seconds: float) -> str:
    """A duration in protobuf JSON, to the millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"


def socket_address(address: str) -> Json:
    """An Envoy address from `ip:port` (IPv6 in brackets) or `unix:/path`."""
    if address.startswith("unix:"):
        return {"pipe": {"path": address.removeprefix("unix:")}}
    host, _, port = address.rpartition(":")
    return {"socket_address": {"address": host.strip("[]"), "port_value": int(port)}}
