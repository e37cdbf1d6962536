"""Who listens: GatewayClass, Gateway and ListenerSet of the Gateway API."""

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import msgspec

from headgate.model.meta import (
    GATEWAY_GROUP,
    Group,
    Hostname,
    Kind,
    KubeObject,
    LabelKey,
    LabelSelector,
    LabelValue,
    Name,
    Namespace,
    ObjectName,
    PortNumber,
)


class LocalParametersRef(msgspec.Struct, frozen=True, rename="camel"):
    """Settings of one Gateway, in its namespace, of a kind that the implementation chooses."""

    group: Group
    kind: Kind
    name: Name


class ParametersRef(LocalParametersRef, frozen=True, rename="camel"):
    """Settings of all Gateways of a class."""

    namespace: Namespace | None = None


ControllerName = Annotated[
    str,
    msgspec.Meta(
        min_length=1,
        max_length=253,
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+\Z",
        description="a domain and a path such as headgate.dev/gateway-controller",
    ),
]


class GatewayClassSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Who implements the class."""

    controller_name: ControllerName
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

    kind: Kind
    group: Group = GATEWAY_GROUP


class AllowedRoutes(msgspec.Struct, frozen=True, rename="camel"):
    """Which routes may attach to a listener."""

    namespaces: RouteNamespaces = RouteNamespaces()
    kinds: Annotated[tuple[RouteKind, ...], msgspec.Meta(max_length=8)] = ()
    """Empty: every kind that the protocol takes."""


class ObjectRef(msgspec.Struct, frozen=True, rename="camel"):
    """Another object, by default a Secret, perhaps in another namespace."""

    name: Name
    group: Group = ""
    kind: Kind = "Secret"
    namespace: Namespace | None = None


class CaRef(msgspec.Struct, frozen=True, rename="camel"):
    """Where CA certificates are: a ConfigMap or a Secret with the key `ca.crt`."""

    group: Group
    kind: Kind
    name: Name
    namespace: Namespace | None = None


class ListenerTls(msgspec.Struct, frozen=True, rename="camel"):
    """How a listener speaks TLS."""

    mode: Literal["Terminate", "Passthrough"] = "Terminate"
    certificate_refs: Annotated[tuple[ObjectRef, ...], msgspec.Meta(max_length=64)] = ()
    options: Annotated[Mapping[str, str], msgspec.Meta(max_length=16)] = msgspec.field(default_factory=dict)


class Listener(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a Gateway."""

    name: ObjectName
    port: PortNumber
    protocol: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=255,
            pattern=r"^([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?|"
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9]+)\Z",
            description="a protocol such as HTTP or HTTPS",
        ),
    ]
    hostname: Hostname | None = None
    tls: ListenerTls | None = None
    allowed_routes: AllowedRoutes = AllowedRoutes()


class ClientValidation(msgspec.Struct, frozen=True, rename="camel"):
    """Which certificates clients must show."""

    ca_certificate_refs: Annotated[tuple[CaRef, ...], msgspec.Meta(min_length=1, max_length=16)]
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

    default: FrontendTlsConfig
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

    type: Annotated[
        str,
        msgspec.Meta(
            min_length=1,
            max_length=253,
            pattern=r"^(Hostname|IPAddress|NamedAddress|"
            r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/[A-Za-z0-9/\-._~%!$&'()*+,;=:]+)\Z",
            description="IPAddress, Hostname, NamedAddress, or a type with its domain before it",
        ),
    ] = "IPAddress"
    value: Annotated[str, msgspec.Meta(max_length=253)] | None = None


class Infrastructure(msgspec.Struct, frozen=True, rename="camel"):
    """What the objects made for a Gateway are to have."""

    labels: Annotated[Mapping[LabelKey, LabelValue], msgspec.Meta(max_length=8)] = msgspec.field(
        default_factory=dict
    )
    annotations: Annotated[
        Mapping[LabelKey, Annotated[str, msgspec.Meta(max_length=4096)]], msgspec.Meta(max_length=16)
    ] = msgspec.field(default_factory=dict)
    parameters_ref: LocalParametersRef | None = None


class AllowedListeners(msgspec.Struct, frozen=True, rename="camel"):
    """Whose ListenerSets may attach."""

    namespaces: RouteNamespaces = RouteNamespaces(from_="None")


class GatewaySpec(msgspec.Struct, frozen=True, rename="camel"):
    """What a Gateway listens on."""

    gateway_class_name: Name
    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(min_length=1, max_length=64)]
    tls: GatewayTls | None = None
    addresses: Annotated[tuple[GatewayAddress, ...], msgspec.Meta(max_length=16)] = ()
    infrastructure: Infrastructure | None = None
    allowed_listeners: AllowedListeners = AllowedListeners()


class Gateway(KubeObject, frozen=True, kw_only=True):
    """An entry point with listeners."""

    KIND: ClassVar[str] = "Gateway"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: GatewaySpec


class GatewayRef(msgspec.Struct, frozen=True, rename="camel"):
    """The Gateway that a ListenerSet belongs to."""

    name: Name
    group: Group = GATEWAY_GROUP
    kind: Kind = "Gateway"
    namespace: Namespace | None = None


class ListenerSetSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Listeners for a Gateway."""

    parent_ref: GatewayRef
    listeners: Annotated[tuple[Listener, ...], msgspec.Meta(min_length=1, max_length=64)]


class ListenerSet(KubeObject, frozen=True, kw_only=True):
    """More listeners of a Gateway, by whoever the Gateway allows to add some."""

    KIND: ClassVar[str] = "ListenerSet"
    GROUP: ClassVar[str] = GATEWAY_GROUP
    spec: ListenerSetSpec
