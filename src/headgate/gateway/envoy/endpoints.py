"""Endpoint assignments (EDS)."""

from collections.abc import Sequence

from headgate.gateway.envoy import encode, names
from headgate.gateway.envoy.names import Json
from headgate.gateway.xds.linger import Hosts
from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId


def assignment(cluster: str, endpoints: Sequence[Endpoint]) -> Json:
    """The endpoints of a cluster, in the order given. One that is not listed gets nothing new."""
    return _assignment(cluster, [_host(each) for each in endpoints])


def plain_assignment(cluster: str, addresses: Sequence[EndpointId]) -> Json:
    """The same from bare addresses."""
    return _assignment(cluster, [_plain_host(each) for each in addresses])


def hosts(endpoints: Sequence[Endpoint]) -> Hosts:
    """What `assignment` says of each endpoint, serialized."""
    return {
        each.id: encode.endpoint(_host(each))
        if each.scheme == "https"
        else encode.endpoint_at(each.ip, each.port)
        for each in endpoints
    }


def plain_hosts(addresses: Sequence[EndpointId]) -> Hosts:
    """The same from bare addresses."""
    return {each: encode.endpoint(_plain_host(each)) for each in addresses}


def _assignment(cluster: str, hosts: list[Json]) -> Json:
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": hosts}] if hosts else []}


def _plain_host(address: EndpointId) -> Json:
    return {"endpoint": {"address": names.socket_address(address)}}


def _host(endpoint: Endpoint) -> Json:
    host = _plain_host(endpoint.id)
    if endpoint.scheme == "https":
        host["endpoint"]["hostname"] = endpoint.hostname
        host["metadata"] = {
            "filter_metadata": {"envoy.transport_socket_match": {"tls": names.tls_label(endpoint)}}
        }
    return host
