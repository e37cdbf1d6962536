"""Every object Headgate reads, in one place to import from, and their union.

The structs hold what manifests say, with the manifests' field names. Untrusted data becomes an object in
`manifests/decode.py` only: constructors do not validate.
"""

from headgate.model.meta import Identity, KubeObject, LabelSelector, Meta, Origin, of_type
from headgate.model.objects.gateway_api import (
    AllowedRoutes,
    BackendRef,
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    GatewaySpec,
    GrantFrom,
    GrantTo,
    Header,
    HeaderModifier,
    HTTPRoute,
    HTTPRouteSpec,
    Listener,
    ParentRef,
    PathMatch,
    PathModifier,
    ReferenceGrant,
    ReferenceGrantSpec,
    RequestRedirect,
    RouteFilter,
    RouteKind,
    RouteMatch,
    RouteNamespaces,
    RouteRule,
    Timeouts,
    UrlRewrite,
    ValueMatch,
)
from headgate.model.objects.inference import (
    ApiKeyRef,
    EndpointPickerRef,
    InferenceModel,
    InferenceModelSpec,
    InferenceObjective,
    InferenceObjectiveSpec,
    InferenceObjectiveX,
    InferencePool,
    InferencePoolSpec,
    InferencePoolX,
    ModelServer,
    ModelServerSpec,
    PodSelector,
    PoolRef,
    PoolRefX,
    PortRef,
    SecretKeyRef,
    ServerTls,
    TargetModelRef,
)
from headgate.model.objects.kubernetes import (
    EndpointConditions,
    EndpointSlice,
    Namespace,
    Pod,
    PodCondition,
    PodIP,
    PodStatus,
    Secret,
    Service,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
)

Object = (
    GatewayClass
    | Gateway
    | HTTPRoute
    | ReferenceGrant
    | InferencePool
    | InferencePoolX
    | InferenceModel
    | InferenceObjective
    | InferenceObjectiveX
    | ModelServer
    | Service
    | EndpointSlice
    | Pod
    | Namespace
    | Secret
)

__all__ = [
    "AllowedRoutes",
    "ApiKeyRef",
    "BackendRef",
    "EndpointConditions",
    "EndpointPickerRef",
    "EndpointSlice",
    "Gateway",
    "GatewayClass",
    "GatewayClassSpec",
    "GatewaySpec",
    "GrantFrom",
    "GrantTo",
    "HTTPRoute",
    "HTTPRouteSpec",
    "Header",
    "HeaderModifier",
    "Identity",
    "InferenceModel",
    "InferenceModelSpec",
    "InferenceObjective",
    "InferenceObjectiveSpec",
    "InferenceObjectiveX",
    "InferencePool",
    "InferencePoolSpec",
    "InferencePoolX",
    "KubeObject",
    "LabelSelector",
    "Listener",
    "Meta",
    "ModelServer",
    "ModelServerSpec",
    "Namespace",
    "Object",
    "Origin",
    "ParentRef",
    "PathMatch",
    "PathModifier",
    "Pod",
    "PodCondition",
    "PodIP",
    "PodSelector",
    "PodStatus",
    "PoolRef",
    "PoolRefX",
    "PortRef",
    "ReferenceGrant",
    "ReferenceGrantSpec",
    "RequestRedirect",
    "RouteFilter",
    "RouteKind",
    "RouteMatch",
    "RouteNamespaces",
    "RouteRule",
    "Secret",
    "SecretKeyRef",
    "ServerTls",
    "Service",
    "ServicePort",
    "ServiceSpec",
    "SliceEndpoint",
    "SlicePort",
    "TargetModelRef",
    "Timeouts",
    "UrlRewrite",
    "ValueMatch",
    "of_type",
]
