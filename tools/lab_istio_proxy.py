"""`python tools/lab_istio_proxy.py ENVOY`: Istio's proxy image as a container of the lab.

Istio's image is an Envoy of its own and an agent that starts it. Here a stock Envoy is started with what the
agent would have told it: who it is, and where istiod serves xDS (in plain text). What needs the agent is not
there: certificates of the mesh, merged metrics, draining at the end.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BOOTSTRAP = Path("/etc/istio/proxy/envoy.json")
POD = Path("/etc/istio/pod")
META = "ISTIO_META_"
ADMIN_PORT, STATUS_PORT, XDS_PORT = 15000, 15021, 15010


def downward(text: str) -> dict[str, str]:
    """Labels or annotations as the downward API writes them: `key="value"`, a line each."""
    pairs = (line.partition("=") for line in text.splitlines() if "=" in line)
    return {key: str(json.loads(value)) for key, _, value in pairs}


def node(environ: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Who this proxy is, as istiod wants to be told."""
    name, namespace, ip = (environ[key] for key in ("POD_NAME", "POD_NAMESPACE", "INSTANCE_IP"))
    told = {key.removeprefix(META): value for key, value in environ.items() if key.startswith(META)}
    metadata = {
        **told,
        "NAME": name,
        "NAMESPACE": namespace,
        "SERVICE_ACCOUNT": environ["SERVICE_ACCOUNT"],
        "INSTANCE_IPS": ip,
        "LABELS": dict(labels),
        "PROXY_CONFIG": json.loads(environ.get("PROXY_CONFIG") or "{}"),
        "ENVOY_STATUS_PORT": STATUS_PORT,
    }
    workload = labels.get("service.istio.io/canonical-name", name)
    return {
        "id": f"router~{ip}~{name}.{namespace}~{namespace}.svc.cluster.local",
        "cluster": f"{workload}.{namespace}",
        "metadata": metadata,
    }


def bootstrap(environ: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, Any]:
    """Envoy's configuration: all of it comes from istiod, but for the port that says whether it is ready."""
    istiod = environ["CA_ADDR"].partition(":")[0]
    fqdn = istiod if istiod.endswith(".cluster.local") else f"{istiod}.cluster.local"
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    xds = {
        **_cluster("xds-grpc", "STRICT_DNS", fqdn, XDS_PORT),
        "dns_lookup_family": "V4_ONLY",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
    }
    ads = {"ads": {}, "initial_fetch_timeout": "0s", "resource_api_version": "V3"}
    return {
        "node": node(environ, labels),
        "admin": {"address": _address("127.0.0.1", ADMIN_PORT)},
        "dynamic_resources": {
            "lds_config": ads,
            "cds_config": ads,
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "set_node_on_first_message_only": True,
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
        },
        "static_resources": {
            "clusters": [xds, _cluster("admin", "STATIC", "127.0.0.1", ADMIN_PORT)],
            "listeners": [_status_listener()],
        },
    }


def _status_listener() -> dict[str, Any]:
    """Ready is who was told his listeners and clusters."""
    route = {"match": {"path": "/healthz/ready"}, "route": {"cluster": "admin", "prefix_rewrite": "/ready"}}
    manager = {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3."
        "HttpConnectionManager",
        "stat_prefix": "status",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
                },
            }
        ],
    }
    chain = {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
    return {"name": "status", "address": _address("0.0.0.0", STATUS_PORT), "filter_chains": [chain]}


def _address(host: str, port: int) -> dict[str, Any]:
    return {"socket_address": {"address": host, "port_value": port}}


def _cluster(name: str, kind: str, host: str, port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(host, port)}}]}]
    return {
        "name": name,
        "type": kind,
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }


def main(envoy: str) -> None:
    """Become Envoy."""
    labels = downward((POD / "labels").read_text())
    BOOTSTRAP.write_text(json.dumps(bootstrap(os.environ, labels)))
    arguments = [envoy, "-c", str(BOOTSTRAP), "--log-level", "warning", "--concurrency", "1"]
    os.execv(envoy, arguments)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main(sys.argv[1])
