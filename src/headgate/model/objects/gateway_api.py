"""Gateway API objects: GatewayClass, Gateway, ListenerSet, HTTPRoute, GRPCRoute, policies and grants."""

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
    PreciseHostname,
    Weight,
)


class ParametersRef(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of a kind that the implementation chooses."""

    group: str
    kind: Name
    name: Name
    namespace: str | None = None


class GatewayClassSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Who implements the class."""

    controller_name: Name
    parameters_ref: ParametersRef | None = None


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


class ObjectRef(msgspec.Struct, frozen=True, rename="camel"):
    """Another object, by default a Secret, perhaps in another namespace."""

    name: Name
    group: str = ""
    kind: str = "Secret"
    namespace: str | None = None


class CaRef(msgspec.Struct, frozen=True, rename="camel"):
    """Where CA certificates are: a ConfigMap or a Secret with the key `ca.crt`."""

    name: Name
    group: str = ""
    kind: str = "ConfigMap"
    namespace: str | None = None


class ListenerTls(msgspec.Struct, frozen=True, rename="camel"):
    """How a listener speaks TLS."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[tuple[ObjectRef, ...], msgspec.Meta(max_length=64)] = ()
    options: Mapping[str, str] = msgspec.field(default_factory=dict)


class Listener(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a Gateway."""

    name: Name
    port: PortNumber
    protocol: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    hostname: Hostname | None = None
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class ClientValidation(msgspec.Struct, frozen=True, rename="camel"):
    """Which certificates clients must show."""

    ca_certificate_refs: Annotated[tuple[CaRef, ...], msgspec.Meta(min_length=1, max_length=8)]
    mode: Literal["AllowValidOnly", "AllowInsecureFallback"] = "AllowValidOnly"


class FrontendTlsConfig(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards clients."""

    validation: ClientValidation | None = None


class PortTls(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards clients of one port."""

    port: PortNumber
    tls: FrontendTlsConfig


class FrontendTls(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards clients, for all HTTPS listeners and for single ports."""

    default: FrontendTlsConfig = FrontendTlsConfig()
    per_port: Annotated[tuple[PortTls, ...], msgspec.Meta(max_length=64)] = ()


class BackendTls(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards backends."""

    client_certificate_ref: ObjectRef | None = None
    """What the gateway shows to backends that ask for a certificate."""


class GatewayTls(msgspec.Struct, frozen=True, rename="camel"):
    """TLS of a whole Gateway."""

    frontend: FrontendTls | None = None
    backend: BackendTls | None = None


class GatewayAddress(msgspec.Struct, frozen=True, rename="camel"):
    """An address that a Gateway asks for."""

    type: str = "IPAddress"
    value: str = ""


class Infrastructure(msgspec.Struct, frozen=True, rename="camel"):
    """What the objects made for a Gateway are to have."""

    labels: Mapping[str, str] = msgspec.field(default_factory=dict)
    annotations: Mapping[str, str] = msgspec.field(default_factory=dict)
    parameters_ref: ParametersRef | None = None


class AllowedListeners(msgspec.Struct, frozen=True, rename="camel"):
    """Whose ListenerSets may attach."""

    namespaces: RouteNamespaces = RouteNamespaces(from_="None")


class GatewaySpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Gateway listens on."""

    gateway_class_name: Name
    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(max_length=64)] = ()
    """Empty only where ListenerSets bring some."""
    tls: GatewayTls | None = None
    addresses: Annotated[tuple[GatewayAddress, ...], msgspec.Meta(max_length=16)] = ()
    infrastructure: Infrastructure | None = None
    allowed_listeners: AllowedListeners = AllowedListeners()


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


class GatewayRef(msgspec.Struct, frozen=True, rename="camel"):
    """The Gateway that a ListenerSet belongs to."""

    name: Name
    group: str = GATEWAY_GROUP
    kind: str = "Gateway"
    namespace: str | None = None


class ListenerSetSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Listeners for a Gateway."""

    parent_ref: GatewayRef
    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(min_length=1, max_length=64)]


class ListenerSet(KubeObject, frozen=True, kw_only=True):
    """More listeners of a Gateway, by whoever the Gateway allows to add some."""

    KIND: ClassVar[str] = "ListenerSet"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: ListenerSetSpec


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
    group: str = ""
    kind: str = "Service"
    namespace: str | None = None
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


class RouteFilter(msgspec.Struct, frozen=True, rename="camel"):
    """One filter; `type` names the member that holds its settings."""

    type: str
    request_header_modifier: HeaderModifier | None = None
    response_header_modifier: HeaderModifier | None = None
    request_redirect: RequestRedirect | None = None
    url_rewrite: UrlRewrite | None = None
    request_mirror: RequestMirror | None = None
    cors: Cors | None = None


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


class Retry(msgspec.Struct, frozen=True, rename="camel"):
    """What is sent again."""

    codes: Annotated[
        tuple[Annotated[int, msgspec.Meta(ge=400, le=599)], ...], msgspec.Meta(max_length=64)
    ] = ()
    attempts: Annotated[int, msgspec.Meta(ge=0, le=100)] | None = None
    backoff: Duration | None = None


class CookieConfig(msgspec.Struct, frozen=True, rename="camel"):
    """Of the cookie that holds a session."""

    lifetime_type: Literal["Permanent", "Session"] = "Session"


class SessionPersistence(msgspec.Struct, frozen=True, rename="camel"):
    """Requests of a session go to one endpoint."""

    session_name: (
        Annotated[str, msgspec.Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+\Z")] | None
    ) = None
    type: Literal["Cookie", "Header"] = "Cookie"
    absolute_timeout: Duration | None = None
    idle_timeout: Duration | None = None
    cookie_config: CookieConfig = CookieConfig()


class RouteRule(msgspec.Struct, frozen=True, rename="camel"):
    """Any of `matches` leads to `backend_refs`."""

    name: str | None = None
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
    rules: Annotated[tuple[RouteRule, ...], msgspec.Meta(max_length=16)] = (RouteRule(),)


class HTTPRoute(KubeObject, frozen=True, kw_only=True):
    """Rules from requests to backends."""

    KIND: ClassVar[str] = "HTTPRoute"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: HTTPRouteSpec


class GrpcMethodMatch(msgspec.Struct, frozen=True, rename="camel"):
    """Which gRPC methods; at least one of service and method."""

    type: Literal["Exact", "RegularExpression"] = "Exact"
    service: Annotated[Line, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    method: Annotated[Line, msgspec.Meta(min_length=1, max_length=1024)] | None = None


class GrpcMatch(msgspec.Struct, frozen=True, rename="camel"):
    """All parts must hold."""

    method: GrpcMethodMatch | None = None
    headers: Annotated[tuple[ValueMatch, ...], msgspec.Meta(max_length=16)] = ()


class GrpcRule(msgspec.Struct, frozen=True, rename="camel"):
    """Any of `matches` leads to `backend_refs`."""

    name: str | None = None
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


class SubjectAltName(msgspec.Struct, frozen=True, rename="camel"):
    """A name that a backend's certificate may have."""

    type: Literal["Hostname", "URI"]
    hostname: Hostname | None = None
    uri: Annotated[Line, msgspec.Meta(min_length=1, max_length=253)] | None = None


class BackendValidation(msgspec.Struct, frozen=True, rename="camel"):
    """How a backend's certificate is verified."""

    hostname: Hostname
    """SNI, and the name in the certificate where `subject_alt_names` is empty."""
    ca_certificate_refs: Annotated[tuple[CaRef, ...], msgspec.Meta(max_length=8)] = ()
    well_known_ca_certificates: Annotated[str, msgspec.Meta(min_length=1, max_length=253)] | None = (
        msgspec.field(default=None, name="wellKnownCACertificates")
    )
    subject_alt_names: Annotated[tuple[SubjectAltName, ...], msgspec.Meta(max_length=5)] = ()


class PolicyTarget(msgspec.Struct, frozen=True, rename="camel"):
    """What a policy is for, in its own namespace; *section_name* is a listener, a port or a rule."""

    group: str
    kind: Name
    name: Name
    section_name: str | None = None


class BackendTLSPolicySpec(msgspec.Struct, frozen=True, rename="camel"):
    """TLS towards the backends that are named."""

    target_refs: Annotated[tuple[PolicyTarget, ...], msgspec.Meta(min_length=1, max_length=16)]
    validation: BackendValidation
    options: Mapping[str, str] = msgspec.field(default_factory=dict)


class BackendTLSPolicy(KubeObject, frozen=True, kw_only=True):
    """The gateway reaches the backends by TLS and verifies who they are."""

    KIND: ClassVar[str] = "BackendTLSPolicy"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: BackendTLSPolicySpec


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
