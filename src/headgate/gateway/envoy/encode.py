"""Resources → serialized messages, a route configuration piece by piece.

A route configuration holds every route of a table, and serializing each takes a moment. So each route is
serialized by itself, by whoever remembers it, and they are put together as bytes: a repeated field's
serialized form is the concatenation of its elements.
"""

from collections.abc import Iterable
from typing import Any

from headgate.gateway.envoy.names import Json
from headgate.gateway.envoy.protos import MESSAGES, serialized_as
from headgate.gateway.envoy.wire import delimited, tag

_CONFIGURATION: Any = MESSAGES["route"].DESCRIPTOR
_HOSTS_FIELD = _CONFIGURATION.fields_by_name["virtual_hosts"]
_HOST = _HOSTS_FIELD.message_type
_ROUTES_FIELD = _HOST.fields_by_name["routes"]
_ROUTE = _ROUTES_FIELD.message_type
_HOSTS_TAG, _ROUTES_TAG = tag(_HOSTS_FIELD.number), tag(_ROUTES_FIELD.number)

_SCOPE: Any = MESSAGES["scope"].DESCRIPTOR
_INLINE_TAG = tag(_SCOPE.fields_by_name["route_configuration"].number)


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
