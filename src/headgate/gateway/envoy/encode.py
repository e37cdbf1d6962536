"""Resources → serialized messages, a route configuration piece by piece.

A route configuration holds every route of a table, and serializing each takes a moment. So each route is
serialized by itself, by whoever remembers it, and they are put together as bytes: a repeated field's
serialized form is the concatenation of its elements. The endpoints of a cluster likewise.
"""

from collections.abc import Iterable
from typing import Any

from headgate.gateway.envoy.names import Json
from headgate.gateway.envoy.protos import MESSAGES, serialized_as
from headgate.gateway.envoy.wire import VARINT, delimited, tag, varint

_CONFIGURATION: Any = MESSAGES["route"].DESCRIPTOR
_HOSTS_FIELD = _CONFIGURATION.fields_by_name["virtual_hosts"]
_HOST = _HOSTS_FIELD.message_type
_ROUTES_FIELD = _HOST.fields_by_name["routes"]
_ROUTE = _ROUTES_FIELD.message_type
_HOSTS_TAG, _ROUTES_TAG = tag(_HOSTS_FIELD.number), tag(_ROUTES_FIELD.number)

_SCOPE: Any = MESSAGES["scope"].DESCRIPTOR
_INLINE_TAG = tag(_SCOPE.fields_by_name["route_configuration"].number)

_ASSIGNMENT: Any = MESSAGES["endpoint"].DESCRIPTOR
_LOCALITIES_FIELD = _ASSIGNMENT.fields_by_name["endpoints"]
_ENDPOINTS_FIELD = _LOCALITIES_FIELD.message_type.fields_by_name["lb_endpoints"]
_ENDPOINT = _ENDPOINTS_FIELD.message_type
_LOCALITIES_TAG, _ENDPOINTS_TAG = tag(_LOCALITIES_FIELD.number), tag(_ENDPOINTS_FIELD.number)
_HOST_FIELD = _ENDPOINT.fields_by_name["endpoint"]
_ADDRESS_FIELD = _HOST_FIELD.message_type.fields_by_name["address"]
_SOCKET_FIELD = _ADDRESS_FIELD.message_type.fields_by_name["socket_address"]
_SOCKET_ADDRESS = _SOCKET_FIELD.message_type.fields_by_name
_IP_TAG = tag(_SOCKET_ADDRESS["address"].number)
_PORT_TAG = tag(_SOCKET_ADDRESS["port_value"].number, VARINT)
_AROUND = tuple(tag(each.number) for each in (_SOCKET_FIELD, _ADDRESS_FIELD, _HOST_FIELD))
_SHORT = 100
"""Bytes of an address, with whose wrappings all lengths are below 128."""
_DRAINING = serialized_as(_ENDPOINT, {"health_status": "DRAINING"})


def route(content: Json) -> bytes:
    """A Route, as a field of its virtual host.

    Raises:
        json_format.ParseError: it has a field or type that Envoy's messages lack.
    """
    return delimited(_ROUTES_TAG, serialized_as(_ROUTE, content))


def host(outer: Json, routes: Iterable[bytes]) -> bytes:
    """A VirtualHost of *outer*, which has no routes, and of what `route` made, as a field of its
    configuration."""
    return delimited(_HOSTS_TAG, serialized_as(_HOST, outer) + b"".join(routes))


def configuration(outer: Json, hosts: Iterable[bytes]) -> bytes:
    """A RouteConfiguration of *outer*, which has no hosts, and of what `host` made."""
    return serialized_as(_CONFIGURATION, outer) + b"".join(hosts)


def scope(outer: Json, configuration: bytes) -> bytes:
    """A ScopedRouteConfiguration of *outer*, which has no routes, and of what `configuration` made."""
    return serialized_as(_SCOPE, outer) + delimited(_INLINE_TAG, configuration)


def endpoint(content: Json) -> bytes:
    """An LbEndpoint."""
    return serialized_as(_ENDPOINT, content)


def endpoint_at(ip: str, port: int) -> bytes:
    """An LbEndpoint of an address and nothing else, as most are: in a third of the time."""
    where = ip.encode()
    found = _IP_TAG + varint(len(where)) + where + _PORT_TAG + varint(port)
    size = len(found)
    if size > _SHORT:
        for each in _AROUND:
            found = delimited(each, found)
        return found
    inner, middle, outer = _AROUND  # a length of one byte each
    return b"%b%c%b%c%b%c%b" % (outer, size + 4, middle, size + 2, inner, size, found)


def assignment(cluster: str, endpoints: Iterable[bytes], draining: Iterable[bytes]) -> bytes:
    """A ClusterLoadAssignment of what `endpoint` and `endpoint_at` made; those that drain come last."""
    hosts = [delimited(_ENDPOINTS_TAG, each) for each in endpoints]
    hosts += [delimited(_ENDPOINTS_TAG, each + _DRAINING) for each in draining]
    outer = serialized_as(_ASSIGNMENT, {"cluster_name": cluster})
    return outer + delimited(_LOCALITIES_TAG, b"".join(hosts)) if hosts else outer
