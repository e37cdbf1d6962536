"""What becomes of requests: HTTPRoute and GRPCRoute of the Gateway API, their filters and backends."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from headgate.model.meta import (
    GATEWAY_GROUP,
    LINE,
    Duration,
    Group,
    HeaderName,
    Hostname,
    Kind,
    KubeObject,
    Line,
    Name,
    Namespace,
    ObjectName,
    PortNumber,
    PreciseHostname,
    Weight,
)


class ParentRef(msgspec.Struct, frozen=True, rename="camel"):
    """What a route wants to attach to."""

    name: Name
    group: Group = GATEWAY_GROUP
    kind: Kind = "Gateway"
    namespace: Namespace | None = None
    section_name: ObjectName | None = None
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


HeaderValue = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=4096, pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*\Z", description=LINE),
]


class Header(msgspec.Struct, frozen=True):
    """A header to set or to add."""

    name: HeaderName
    value: HeaderValue


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
    hostname: PreciseHostname | None = None
    path: PathModifier | None = None
    port: PortNumber | None = None
    status_code: Literal[301, 302, 303, 307, 308] = 302


class UrlRewrite(msgspec.Struct, frozen=True, rename="camel"):
    """Change host or path before forwarding."""

    hostname: PreciseHostname | None = None
    path: PathModifier | None = None


class Fraction(msgspec.Struct, frozen=True):
    """A part of all requests."""

    numerator: Annotated[int, msgspec.Meta(ge=0)]
    denominator: Annotated[int, msgspec.Meta(ge=1)] = 100


class MirrorRef(msgspec.Struct, frozen=True, rename="camel"):
    """Where copies of requests go."""

    name: Name
    group: Group = ""
    kind: Kind = "Service"
    namespace: Namespace | None = None
    port: PortNumber | None = None


class RequestMirror(msgspec.Struct, frozen=True, rename="camel"):
    """Send copies of requests elsewhere; what comes back is dropped."""

    backend_ref: MirrorRef
    percent: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    fraction: Fraction | None = None


CorsOrigin = Annotated[
    str,
    msgspec.Meta(
        max_length=253,
        pattern=r"^(\*|https?://((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:[0-9]{1,5})?)\Z",
        description="an origin such as https://app.example.com or https://*.example.com, or *",
    ),
]
CorsMethod = Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "*"]


class Cors(msgspec.Struct, frozen=True, rename="camel"):
    """Which pages of other origins may read the answers."""

    allow_origins: Annotated[tuple[CorsOrigin, ...], msgspec.Meta(max_length=64)] = ()
    """`https://app.example.com`, `https://*.example.com` or `*`."""
    allow_credentials: bool = False
    allow_methods: Annotated[tuple[CorsMethod, ...], msgspec.Meta(max_length=9)] = ()
    allow_headers: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=64)] = ()
    expose_headers: Annotated[tuple[HeaderName, ...], msgspec.Meta(max_length=64)] = ()
    max_age: Annotated[int, msgspec.Meta(ge=1)] = 5


class ExtensionFilterRef(msgspec.Struct, frozen=True, rename="camel"):
    """A filter of a kind that an implementation brings along; we have none."""

    group: Group
    kind: Kind
    name: Name


FilterType = Literal[
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "CORS",
    "ExtensionRef",
    "ExternalAuth",
]


class RouteFilter(msgspec.Struct, frozen=True, rename="camel"):
    """One filter; `type` names the member that holds its settings."""

    type: FilterType
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    request_mirror: RequestMirror | None = None
    cors: Cors | None = None
    extension_ref: ExtensionFilterRef | None = None
    external_auth: Mapping[str, Any] | None = None
    """Not supported: a rule with it is refused as a whole, so what it says is not read."""


class BackendRef(msgspec.Struct, frozen=True, rename="camel"):
    """Where a share of a rule's requests goes."""

    name: Name
    group: Group = ""
    kind: Kind = "Service"
    namespace: Namespace | None = None
    port: PortNumber | None = None
    weight: Weight = 1
    filters: Annotated[tuple[RouteFilter, ...], msgspec.Meta(max_length=16)] = ()


class Timeouts(msgspec.Struct, frozen=True, rename="camel"):
    """Limits in time; None: no limit."""

    request: Duration | None = None
    backend_request: Duration | None = None


class Retry(msgspec.Struct, frozen=True, rename="camel"):
    """What is sent again."""

    codes: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=400, le=599)], ...], msgspec.Meta(max_length=64)
    ] = ()
    attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] | None = None
    backoff: Duration | None = None


class CookieConfig(msgspec.Struct, frozen=True, rename="camel"):
    """Of the cookie that holds a session."""

    lifetime_type: Literal["Permanent", "Session"] = "Session"


class SessionPersistence(msgspec.Struct, frozen=True, rename="camel"):
    """Requests of a session go to one endpoint."""

    session_name: (
        Annotated[
            str,
            msgspec.Meta(
                min_length=1,
                max_length=128,
                pattern=r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z",
                description="a name that a cookie or header may have: letters, digits and '-', no spaces",
            ),
        ]
        | None
    ) = None
    type: Literal["Cookie", "Header"] = "Cookie"
    absolute_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    cookie_config: CookieConfig | None = None


class RouteRule(msgspec.Struct, frozen=True, rename="camel"):
    """Any of `matches` leads to `backend_refs`."""

    name: ObjectName | None = None
    matches: Annotated[tuple[RouteMatch, ...], msgspec.Meta(max_length=64)] = (RouteMatch(),)
    filters: Annotated[tuple[RouteFilter, ...], msgspec.Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[BackendRef, ...], msgspec.Meta(max_length=16)] = ()
    timeouts: Timeouts = Timeouts()
    retry: Retry | None = None
    session_persistence: SessionPersistence | None = None


class HTTPRouteSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Where a route attaches and what it does."""

    parent_refs: Annotated[tuple[ParentRef, ...], msgspec.Meta(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], msgspec.Meta(max_length=16)] = ()
    rules: Annotated[tuple[RouteRule, ...], msgspec.Meta(min_length=1, max_length=16)] = (RouteRule(),)


class HTTPRoute(KubeObject, frozen=True, kw_only=True):
    """Rules from requests to backends."""

    KIND: ClassVar[str] = "HTTPRoute"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: HTTPRouteSpec


class GrpcMethodMatch(msgspec.Struct, frozen=True, rename="camel"):
    """Which gRPC methods; at least one of service and method, and an empty one means any."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    service: Annotated[Line, msgspec.Meta(max_length=1024)] | None = None
    method: Annotated[Line, msgspec.Meta(max_length=1024)] | None = None


class GrpcMatch(msgspec.Struct, frozen=True, rename="camel"):
    """All parts must hold."""

    method: GrpcMethodMatch | None = None
    headers: Annotated[tuple[ValueMatch, ...], msgspec.Meta(max_length=16)] = ()


class GrpcRule(msgspec.Struct, frozen=True, rename="camel"):
    """Any of `matches` leads to `backend_refs`."""

    name: ObjectName | None = None
    matches: Annotated[tuple[GrpcMatch, ...], msgspec.Meta(max_length=64)] = ()
    filters: Annotated[tuple[RouteFilter, ...], msgspec.Meta(max_length=16)] = ()
    backend_refs: Annotated[tuple[BackendRef, ...], msgspec.Meta(max_length=16)] = ()
    session_persistence: SessionPersistence | None = None


class GRPCRouteSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Where a route attaches and what it does."""

    parent_refs: Annotated[tuple[ParentRef, ...], msgspec.Meta(max_length=32)] = ()
    hostnames: Annotated[tuple[Hostname, ...], msgspec.Meta(max_length=16)] = ()
    rules: Annotated[tuple[GrpcRule, ...], msgspec.Meta(max_length=16)] = (GrpcRule(),)


class GRPCRoute(KubeObject, frozen=True, kw_only=True):
    """Rules from gRPC calls to backends."""

    KIND: ClassVar[str] = "GRPCRoute"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: GRPCRouteSpec
