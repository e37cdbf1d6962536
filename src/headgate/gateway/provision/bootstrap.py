"""Envoy's bootstrap in a Pod: mutual TLS towards the controller, a port for the kubelet's questions."""

from typing import Any

from headgate.gateway.envoy import bootstrap as envoy
from headgate.gateway.envoy import mutual_tls
from headgate.gateway.envoy.bootstrap import Json

ADMIN = "/run/headgate/admin.sock"

READY_PORT = 19001
"""Asked by the kubelet (`/ready`, and to drain) and by Prometheus (`/stats/prometheus`)."""

_TYPES = "type.googleapis.com/envoy"
_FILTERS = f"{_TYPES}.extensions.filters.http"


def bootstrap(node: str, host: str, port: int, heap_bytes: int, drain_s: int, drain_path: str) -> Json:
    """The bootstrap of the Envoy called *node*, whose controllers answer at *host*:*port*.

    *drain_s*: how long a GET of *drain_path* takes; clients are told to go elsewhere meanwhile.
    """
    xds = {
        "type": "STRICT_DNS",
        "loadAssignment": envoy.assignment(envoy.XDS_CLUSTER, envoy.socket(host, port)),
        "transportSocket": mutual_tls.transport_socket(host),
    }
    static = {
        "listeners": [_kubelets(drain_s, drain_path)],
        "clusters": [
            {
                "name": "admin",
                "type": "STATIC",
                "connectTimeout": "1s",
                "loadAssignment": envoy.assignment("admin", {"pipe": {"path": ADMIN}}),
            }
        ],
    }
    admin = {"pipe": {"path": ADMIN, "mode": 0o600}}
    return envoy.bootstrap(node, admin, xds, heap_bytes, static, patient=True)


_DRAIN = """
function envoy_on_request(handle)
  if handle:headers():get(":path") == "DRAIN" then
    handle:httpCall("admin", {[":method"] = "POST", [":path"] = "/drain_listeners?graceful&skip_exit",
      [":authority"] = "admin"}, "", 5000)
  end
end
"""
"""The kubelet can only GET, and the admin wants a POST."""


def _kubelets(drain_s: int, drain_path: str) -> Json:
    """For the kubelet and Prometheus. *drain_path* tells clients to go, and answers after *drain_s*."""
    routes: list[dict[str, Any]] = [
        {"match": {"path": path}, "route": {"cluster": "admin"}} for path in ("/ready", "/stats/prometheus")
    ]
    delay = {"fixedDelay": f"{drain_s}s", "percentage": {"numerator": 100, "denominator": "HUNDRED"}}
    fault = f"{_FILTERS}.fault.v3.HTTPFault"
    wait = {"envoy.filters.http.fault": {"@type": fault, "delay": delay}} if drain_s else {}
    routes.append(
        {"match": {"path": drain_path}, "directResponse": {"status": 200}, "typedPerFilterConfig": wait}
    )
    manager = {
        "@type": f"{_TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "statPrefix": "kubelet",
        "routeConfig": {"virtualHosts": [{"name": "kubelet", "domains": ["*"], "routes": routes}]},
        "httpFilters": [
            {
                "name": "envoy.filters.http.lua",
                "typedConfig": {
                    "@type": f"{_FILTERS}.lua.v3.Lua",
                    "defaultSourceCode": {"inlineString": _DRAIN.replace("DRAIN", drain_path)},
                },
            },
            {"name": "envoy.filters.http.fault", "typedConfig": {"@type": fault}},
            {
                "name": "envoy.filters.http.router",
                "typedConfig": {"@type": f"{_FILTERS}.router.v3.Router"},
            },
        ],
    }
    network = {"name": "envoy.filters.network.http_connection_manager", "typedConfig": manager}
    return {
        "name": "kubelet",
        "address": envoy.socket("0.0.0.0", READY_PORT),
        "bypassOverloadManager": True,
        "filterChains": [{"filters": [network]}],
    }
