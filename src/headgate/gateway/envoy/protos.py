"""JSON-shaped Envoy resources → protobuf. Importing this module makes every type that we emit known."""

from collections.abc import Mapping
from typing import Any

import msgspec
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2, scoped_route_pb2
from envoy.extensions.access_loggers.file.v3 import file_pb2 as _file
from envoy.extensions.access_loggers.filters.cel.v3 import cel_pb2 as _cel
from envoy.extensions.access_loggers.grpc.v3 import als_pb2 as _als
from envoy.extensions.access_loggers.stats.v3 import stats_pb2 as _stats
from envoy.extensions.common.matching.v3 import extension_matcher_pb2 as _extension_matcher
from envoy.extensions.filters.common.matcher.action.v3 import skip_action_pb2 as _skip_action
from envoy.extensions.filters.http.adaptive_concurrency.v3 import (
    adaptive_concurrency_pb2 as _adaptive_concurrency,
)
from envoy.extensions.filters.http.api_key_auth.v3 import api_key_auth_pb2 as _api_key_auth
from envoy.extensions.filters.http.buffer.v3 import buffer_pb2 as _buffer
from envoy.extensions.filters.http.cors.v3 import cors_pb2 as _cors
from envoy.extensions.filters.http.ext_proc.v3 import ext_proc_pb2 as _ext_proc
from envoy.extensions.filters.http.header_mutation.v3 import header_mutation_pb2 as _header_mutation
from envoy.extensions.filters.http.header_to_metadata.v3 import header_to_metadata_pb2 as _header_to_metadata
from envoy.extensions.filters.http.health_check.v3 import health_check_pb2 as _health_check
from envoy.extensions.filters.http.json_to_metadata.v3 import json_to_metadata_pb2 as _json_to_metadata
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as _jwt_authn
from envoy.extensions.filters.http.lua.v3 import lua_pb2 as _lua
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as _rbac
from envoy.extensions.filters.http.router.v3 import router_pb2 as _router
from envoy.extensions.filters.http.set_metadata.v3 import set_metadata_pb2 as _set_metadata
from envoy.extensions.filters.http.stateful_session.v3 import stateful_session_pb2 as _stateful_session
from envoy.extensions.filters.http.transform.v3 import transform_pb2 as _transform
from envoy.extensions.filters.http.upstream_codec.v3 import upstream_codec_pb2 as _upstream_codec
from envoy.extensions.filters.listener.tls_inspector.v3 import tls_inspector_pb2 as _tls_inspector
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2 as _hcm
from envoy.extensions.http.early_header_mutation.header_mutation.v3 import header_mutation_pb2 as _early
from envoy.extensions.http.stateful_session.cookie.v3 import cookie_pb2 as _session_cookie
from envoy.extensions.http.stateful_session.header.v3 import header_pb2 as _session_header
from envoy.extensions.internal_redirect.allow_listed_routes.v3 import (
    allow_listed_routes_config_pb2 as _allow_listed,
)
from envoy.extensions.load_balancing_policies.override_host.v3 import override_host_pb2 as _override_host
from envoy.extensions.load_balancing_policies.round_robin.v3 import round_robin_pb2 as _round_robin
from envoy.extensions.load_balancing_policies.subset.v3 import subset_pb2 as _subset
from envoy.extensions.request_id.uuid.v3 import uuid_pb2 as _uuid
from envoy.extensions.retry.host.previous_hosts.v3 import previous_hosts_pb2 as _previous_hosts
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2
from envoy.extensions.transport_sockets.tls.v3 import tls_pb2 as _tls
from envoy.extensions.upstreams.http.v3 import http_protocol_options_pb2 as _http_options
from envoy.type.matcher.v3 import http_inputs_pb2 as _http_inputs
from google.protobuf import json_format
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from xds.type.matcher.v3 import cel_pb2 as _cel_matcher
from xds.type.matcher.v3 import http_inputs_pb2 as _attributes_input

from headgate.gateway.envoy import extra_types, wire
from headgate.gateway.xds.versions import Kind

TYPES_IN_ANYS = (
    _allow_listed,
    _adaptive_concurrency,
    _file,
    _cel,
    _als,
    _stats,
    _extension_matcher,
    _skip_action,
    _buffer,
    _transform,
    _http_inputs,
    _attributes_input,
    _cel_matcher,
    _cors,
    _api_key_auth,
    _jwt_authn,
    _header_to_metadata,
    _stateful_session,
    _session_cookie,
    _session_header,
    _ext_proc,
    _header_mutation,
    _health_check,
    _upstream_codec,
    _json_to_metadata,
    _lua,
    _rbac,
    _router,
    _set_metadata,
    _tls_inspector,
    _hcm,
    _early,
    _override_host,
    _round_robin,
    _subset,
    _uuid,
    _previous_hosts,
    _tls,
    _http_options,
)
"""Modules of the types that stand inside Any messages."""

_TOP_LEVEL: Mapping[Kind, type[Message]] = {
    "secret": secret_pb2.Secret,
    "scope": scoped_route_pb2.ScopedRouteConfiguration,
    "listener": listener_pb2.Listener,
    "route": route_pb2.RouteConfiguration,
    "cluster": cluster_pb2.Cluster,
    "endpoint": endpoint_pb2.ClusterLoadAssignment,
}

_POOL = extra_types.build_pool(
    [module.DESCRIPTOR for module in TYPES_IN_ANYS] + [each.DESCRIPTOR.file for each in _TOP_LEVEL.values()]
)

MESSAGES: Mapping[Kind, type[Message]] = {
    kind: GetMessageClass(_POOL.FindMessageTypeByName(each.DESCRIPTOR.full_name))
    for kind, each in _TOP_LEVEL.items()
}
"""Kind → message class. The classes are our pool's own, not those of the `envoy` package."""

Json = Mapping[str, object]


def type_url(kind: Kind) -> str:
    """The type URL that xDS calls *kind* by."""
    return f"type.googleapis.com/{MESSAGES[kind].DESCRIPTOR.full_name}"


def to_message(kind: Kind, resource: Json) -> Message:
    """The resource as a message. Raises json_format.ParseError for a field or type that does not exist."""
    return MESSAGES[kind].FromString(serialized(kind, resource))


def serialized(kind: Kind, resource: Json) -> bytes:
    """The serialized message; equal resources give equal bytes. Raises as `to_message` does."""
    return serialized_as(MESSAGES[kind].DESCRIPTOR, resource)


def serialized_as(descriptor: Any, content: Json) -> bytes:
    """The same of a part, a message of our pool's type *descriptor*."""
    try:
        return WRITERS.write(descriptor.full_name, content)
    except wire.UnusualError:
        message = GetMessageClass(descriptor)()
        json_format.ParseDict(msgspec.to_builtins(content), message, descriptor_pool=_POOL)
        return message.SerializeToString(deterministic=True)


WRITERS = wire.Writers(_POOL)
