"""Gateway API objects: GatewayClass, Gateway, HTTPRoute, ReferenceGrant."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from headgate.model.meta import (
    GATEWAY_GROUP,
    Duration,
    HeaderName,
    Hostname,
    KubeObject,
    LabelSelector,
    Line,
    Name,
    PortNumber,
    Weight,
)


class GatewayClassSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Who implements the class."""

    controller_name: Name


class GatewayClass(KubeObject, frozen=True, kw_only=True):
    """A kind of gateway; ours has controllerName `headgate.dev/gateway-controller`."""

    KIND: ClassVar[str] = "GatewayClass"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    NAMESPACED: ClassVar[bool] = False
    spec: GatewayClassSpec


class RouteNamespaces(msgspec.Struct, frozen=True, rename="camel"):
    """Whose routes may attach."""

    from_: Literal["All", "Selector", "Same", "None"] = msgspec.field(default="Same", name="from")
    selector: LabelSelector | None = None


class RouteKind(msgspec.Struct, frozen=True, rename="camel"):
    """A kind of route that may attach."""

    kind: Name
    group: str = GATEWAY_GROUP


class AllowedRoutes(msgspec.Struct, frozen=True, rename="camel"):
    """Which routes may attach to a listener."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: tuple[RouteKind, ...] = ()
    """Empty: every kind that the protocol takes."""


class Listener(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a Gateway."""

    name: Name
    port: PortNumber
    protocol: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    hostname: Hostname | None = None
    tls: Mapping[str, object] | None = None
    """Not read yet: a listener that terminates TLS is refused by name."""
    allowed_routes: AllowedRoutes = AllowedRoutes()


class GatewaySpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Gateway listens on."""

    gateway_class_name: Name
    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(min_length=1, max_length=64)]


class Gateway(KubeObject, frozen=True, kw_only=True):
    """An entry point with listeners."""

    KIND: ClassVar[str] = "Gateway"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: GatewaySpec


class ParentRef(msgspec.Struct, frozen=True, rename="camel"):
    """What a route wants to attach to."""

    name: Name
    group: str = GATEWAY_GROUP
    kind: str = "Gateway"
    namespace: str | None = None
    section_name: str | None = None
    port: PortNumber | None = None


class PathMatch(msgspec.Struct, frozen=True, rename="camel"):
    """How a path is matched."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    value: Annotated[Line, msgspec.Meta(max_length=1024)] = "/"


class ValueMatch(msgspec.Struct, frozen=True, rename="camel"):
    """How one header or one query parameter is matched."""

    name: HeaderName
    value: Annotated[Line, msgspec.Meta(min_length=1, max_length=4096)]
    type: Literal["Exact", "RegularExpression"] = "Exact"


Method = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]


class RouteMatch(msgspec.Struct, frozen=True, rename="camel"):
    """All parts must hold."""

    path: PathMatch = PathMatch()
    headers: Annotated[tuple[ValueMatch, ...], msgspec.Meta(max_length=16)] = ()
    query_params: Annotated[tuple[ValueMatch, ...], msgspec.Meta(max_length=16)] = ()
    method: Method | None = None


class Header(msgspec.Struct, frozen=True):
    """A header to set or to add."""

    name: HeaderName
    value: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class HeaderModifier(msgspec.Struct, frozen=True):
    """Headers to set, add and remove."""

    set: Annotated[tuple[Header, ...], msgspec.Meta(max_length=16)] = ()
    add: Annotated[tuple[Header, ...], msgspec.Meta(max_length=16)] = ()
    remove: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=16)] = ()


class PathModifier(msgspec.Struct, frozen=True, rename="camel"):
    """How a redirect or a rewrite changes the path."""

    type: Literal["ReplaceFullPath", "ReplacePrefixMatch"]
    replace_full_path: Annotated[Line, msgspec.Meta(max_length=1024)] | None = None
    replace_prefix_match: Annotated[Line, msgspec.Meta(max_length=1024)] | None = None


class RequestRedirect(msgspec.Struct, frozen=True, rename="camel"):
    """Answer with a redirect."""

    scheme: Literal["http", "https"] | None = None
    hostname: Hostname | None = None
    path: PathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class UrlRewrite(msgspec.Struct, frozen=True, rename="camel"):
    """Change host or path before forwarding."""

    hostname: Hostname | None = None
    path: PathModifier | None = None


class RouteFilter(msgspec.Struct, frozen=True, rename="camel"):
    """One filter; `type` names the member that holds its settings."""

    type: str
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None


class BackendRef(msgspec.Struct, frozen=True, rename="camel"):
    """Where a share of a rule's requests goes."""

    name: Name
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
    port: PortNumber | None = None
    weight: Weight = 1
    filters: Annotated[tuple[RouteFilter, ...], msgspec.Meta(max_length=16)] = ()


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits in time; None: no limit."""

    request: Duration | None = None
    backend_request: Duration | None = None


class RouteRule(msgspec.Struct, frozen=True, rename="camel"):
    """Any of `matches` leads to `backend_refs`."""

    name: str | None = None
    matches: Annotated[tuple[RouteMatch, ...], msgspec.Meta(max_length=64)] = (RouteMatch(),)
    filters: Annotated[tuple[RouteFilter, ...], msgspec.Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[BackendRef, ...], msgspec.Meta(max_length=16)] = ()
    timeouts: Timeouts = Timeouts()


class HTTPRouteSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Where a route attaches and what it does."""

    parent_refs: Annotated[tuple[ParentRef, ...], msgspec.Meta(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], msgspec.Meta(max_length=16)] = ()
    rules: Annotated[tuple[RouteRule, ...], msgspec.Meta(max_length=16)] = (RouteRule(),)


class HTTPRoute(KubeObject, frozen=True, kw_only=True):
    """Rules from requests to backends."""

    KIND: ClassVar[str] = "HTTPRoute"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: HTTPRouteSpec


class GrantFrom(msgspec.Struct, frozen=True):
    """Who may refer."""

    group: str
    kind: Name
    namespace: Name


class GrantTo(msgspec.Struct, frozen=True):
    """To what; no name means every object of the kind."""

    group: str
    kind: Name
    name: str | None = None


class ReferenceGrantSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Every `from` may refer to every `to`."""

    from_: Annotated[tuple[GrantFrom, ...], msgspec.Meta(min_length=1, max_length=16)] = msgspec.field(
        name="from"
    )
    to: Annotated[tuple[GrantTo, ...], msgspec.Meta(min_length=1, max_length=16)]


class ReferenceGrant(KubeObject, frozen=True, kw_only=True):
    """Permission to refer to objects of its namespace from other namespaces."""

    KIND: ClassVar[str] = "ReferenceGrant"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: ReferenceGrantSpec
