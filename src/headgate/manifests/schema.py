"""Which kinds are read, and which fields of them are known but without effect."""

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec

from headgate.model import meta
from headgate.model.meta import KubeObject, Meta
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    BackendTLSPolicy,
    ConfigMap,
    EndpointSlice,
    FlowPolicy,
    Gateway,
    GatewayClass,
    GatewayClassSpec,
    GatewayParameters,
    GRPCRoute,
    HTTPRoute,
    InferenceModel,
    InferenceModelRewrite,
    InferenceModelRewriteX,
    InferenceObjective,
    InferenceObjectiveX,
    InferencePool,
    InferencePoolImport,
    InferencePoolX,
    ListenerSet,
    ModelServer,
    Namespace,
    Pod,
    ReferenceGrant,
    Secret,
    Service,
)
from headgate.model.objects.gateways import GatewaySpec, Listener, ListenerTls
from headgate.model.objects.inference import InferencePoolSpecX
from headgate.model.objects.policies import BackendTLSPolicySpec
from headgate.model.objects.routes import BackendRef, HTTPRouteSpec


class PoolXWire(msgspec.Struct, frozen=True, kw_only=True):
    """A v1alpha2 InferencePool as it is written."""

    metadata: Meta
    spec: InferencePoolSpecX


KINDS: Mapping[tuple[str, str], type[KubeObject]] = {
    (f"{meta.GATEWAY_GROUP}/v1", "GatewayClass"): GatewayClass,
    (f"{meta.GATEWAY_GROUP}/v1beta1", "GatewayClass"): GatewayClass,
    (f"{meta.GATEWAY_GROUP}/v1", "Gateway"): Gateway,
    (f"{meta.GATEWAY_GROUP}/v1beta1", "Gateway"): Gateway,
    (f"{meta.GATEWAY_GROUP}/v1", "HTTPRoute"): HTTPRoute,
    (f"{meta.GATEWAY_GROUP}/v1beta1", "HTTPRoute"): HTTPRoute,
    (f"{meta.GATEWAY_GROUP}/v1", "ListenerSet"): ListenerSet,
    (f"{meta.GATEWAY_GROUP}/v1", "GRPCRoute"): GRPCRoute,
    (f"{meta.GATEWAY_GROUP}/v1", "BackendTLSPolicy"): BackendTLSPolicy,
    (f"{meta.GATEWAY_GROUP}/v1", "ReferenceGrant"): ReferenceGrant,
    (f"{meta.GATEWAY_GROUP}/v1beta1", "ReferenceGrant"): ReferenceGrant,
    (f"{meta.INFERENCE_GROUP}/v1", "InferencePool"): InferencePool,
    (f"{meta.INFERENCE_X_GROUP}/v1alpha2", "InferencePool"): InferencePoolX,
    (f"{meta.INFERENCE_X_GROUP}/v1alpha2", "InferenceModel"): InferenceModel,
    (f"{meta.INFERENCE_X_GROUP}/v1alpha1", "InferencePoolImport"): InferencePoolImport,
    (f"{meta.LLM_D_GROUP}/v1alpha2", "InferenceObjective"): InferenceObjective,
    (f"{meta.LLM_D_GROUP}/v1alpha2", "InferenceModelRewrite"): InferenceModelRewrite,
    (f"{meta.INFERENCE_X_GROUP}/v1alpha2", "InferenceModelRewrite"): InferenceModelRewriteX,
    (f"{meta.INFERENCE_X_GROUP}/v1alpha2", "InferenceObjective"): InferenceObjectiveX,
    (f"{meta.HEADGATE_GROUP}/v1alpha1", "ModelServer"): ModelServer,
    (f"{meta.HEADGATE_GROUP}/v1alpha1", "AccessPolicy"): AccessPolicy,
    (f"{meta.HEADGATE_GROUP}/v1alpha1", "BackendAuthPolicy"): BackendAuthPolicy,
    (f"{meta.HEADGATE_GROUP}/v1alpha1", "FlowPolicy"): FlowPolicy,
    (f"{meta.HEADGATE_GROUP}/v1alpha1", "GatewayParameters"): GatewayParameters,
    ("v1", "Service"): Service,
    ("v1", "ConfigMap"): ConfigMap,
    ("v1", "Pod"): Pod,
    ("v1", "Namespace"): Namespace,
    ("v1", "Secret"): Secret,
    (f"{meta.DISCOVERY_GROUP}/v1", "EndpointSlice"): EndpointSlice,
}
"""(apiVersion, kind) → struct."""

GROUPS = frozenset(
    {
        meta.GATEWAY_GROUP,
        meta.GATEWAY_X_GROUP,
        meta.INFERENCE_GROUP,
        meta.INFERENCE_X_GROUP,
        meta.LLM_D_GROUP,
        meta.HEADGATE_GROUP,
        meta.DISCOVERY_GROUP,
    }
)
"""Groups in which a kind that we do not know is worth a word."""

NOT_YET = frozenset(
    [
        "TCPRoute",
        "TLSRoute",
        "UDPRoute",
        "XListenerSet",
        "XMesh",
        "XBackendTrafficPolicy",
        "InferenceModelRewrite",
    ]
)
"""Real kinds of those groups without effect here."""

NAMES = frozenset({kind for _, kind in KINDS} | NOT_YET)

CORE = "v1"
"""The apiVersion of Kubernetes' core group."""

CORE_NAMES = frozenset({kind for api, kind in KINDS if api == CORE} | {"List"})

CORE_KINDS = frozenset(
    [
        "Binding",
        "ComponentStatus",
        "Endpoints",
        "Event",
        "LimitRange",
        "Node",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "PodTemplate",
        "ReplicationController",
        "ResourceQuota",
        "ServiceAccount",
    ]
)
"""Kinds of Kubernetes' core group that we do not read: none of them is a misspelt one of ours."""

LENIENT = (Service, Pod, Namespace, EndpointSlice, Secret, ConfigMap)
"""Kinds that we read a small part of: unknown fields say nothing there."""

SILENT: Mapping[type, frozenset[str]] = {
    Meta: frozenset(
        [
            "resourceVersion",
            "managedFields",
            "finalizers",
            "ownerReferences",
            "generateName",
            "selfLink",
            "deletionGracePeriodSeconds",
        ]
    ),
    GatewayClassSpec: frozenset({"description"}),
}
"""Fields that may be there and change nothing for traffic."""

UNSUPPORTED: Mapping[type, frozenset[str]] = {
    GatewaySpec: frozenset({"backendTLS", "defaultScope"}),
    BackendTLSPolicySpec: frozenset({"options"}),
    ListenerTls: frozenset({"options"}),
    HTTPRouteSpec: frozenset({"useDefaultGateways"}),
    BackendRef: frozenset(),
    Listener: frozenset(),
}
"""Fields of the CRDs that are not supported yet: said as such, so that nobody searches for a typing error."""

ON_CLUSTERS: Mapping[type, frozenset[str]] = {GatewaySpec: frozenset({"addresses", "infrastructure"})}
"""Fields that mean something where Envoys are made for Gateways."""

CLUSTER_ONLY = "ClusterOnly"
"""Reason that is given for them."""

OTHER_WORDS = {
    "extensionRef": "endpointPickerRef",
    "endpointPickerRef": "extensionRef",
    "targetPort": "targetPorts",
    "matchLabels": "selector",
    "model": "name",
    "sectionname": "sectionName",
}
"""What other versions and other products call a field."""

Strange = tuple[str, str, str]
"""Field path, reason, message."""


def strange_fields(cls: type[KubeObject], data: Mapping[str, Any]) -> Iterator[Strange]:
    """Fields of *data* that have no effect: unknown ones, and those that are not supported yet."""
    if cls in LENIENT:
        return
    top = {key: value for key, value in data.items() if key not in ("apiVersion", "kind", "status")}
    yield from _strange(PoolXWire if cls is InferencePoolX else cls, top, "")


def versions(kind: str | None, group: str) -> list[str]:
    """The apiVersions in which *kind* is read, the one to write first: in *group* if it is there.

    InferenceObjective moved to another group, which is always the one to write.
    """
    found = [api for api, its in KINDS if its == kind]
    return sorted(
        found, key=lambda api: api.startswith(f"{group}/") and kind != "InferenceObjective", reverse=True
    )


def type_at(cls: type[KubeObject], field: str) -> tuple[Any, tuple[msgspec.Meta, ...]]:
    """What stands at *field* (a dotted path) of *cls*, a struct, `(element, ...)`, a Literal, `int`, and its
    limits. Members of a mapping have the mapping's value type; `Any` where *cls* has no such field.
    """
    type_: Any = PoolXWire if cls is InferencePoolX else cls
    for part in filter(None, re.split(r"[.\[\]]+", field)):
        inner = _bare(type_)
        if isinstance(inner, tuple):
            type_ = inner[0]
        elif get_origin(inner) is Mapping:
            return _bare(get_args(inner)[1]), _metas(get_args(inner)[1])
        elif isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            type_ = _members(inner).get(part, Any)
        else:
            return Any, ()
    return _bare(type_), _metas(type_)


def words(type_: Any) -> tuple[str, ...]:
    """What a Literal may be; empty for other types."""
    return tuple(map(str, get_args(type_))) if get_origin(type_) is Literal else ()


def _metas(type_: Any) -> tuple[msgspec.Meta, ...]:
    if get_origin(type_) is Annotated:
        base, *notes = get_args(type_)
        return (*(each for each in notes if isinstance(each, msgspec.Meta)), *_metas(base))
    if get_origin(type_) in (Union, UnionType):
        present = [each for each in get_args(type_) if each is not type(None)]
        return _metas(present[0]) if len(present) == 1 else ()
    return ()


def _strange(type_: Any, value: object, path: str) -> Iterator[Strange]:
    match _bare(type_), value:
        case (type() as cls, dict() | Mapping()) if issubclass(cls, msgspec.Struct):
            yield from _strange_members(cls, value, path)
        case ((element, _), list()):
            for index, each in enumerate(value):
                yield from _strange(element, each, f"{path}[{index}]")
        case _:
            pass


@cache
def _members(cls: type[msgspec.Struct]) -> Mapping[str, Any]:
    """Name on the wire → type; what stands in parentheses is not on the wire."""
    fields = msgspec.structs.fields(cls)
    return {field.encode_name: field.type for field in fields if field.encode_name.isalnum()}


def _strange_members(cls: type[msgspec.Struct], value: Mapping[Any, object], path: str) -> Iterator[Strange]:
    known = _members(cls)
    for key, each in value.items():
        here = f"{path}.{key}" if path else str(key)
        if key in UNSUPPORTED.get(cls, ()):
            yield here, "UnsupportedField", f"{key} is not supported yet and is ignored"
        elif key in ON_CLUSTERS.get(cls, ()):
            yield here, CLUSTER_ONLY, f"{key} has an effect on a cluster only"
        elif key in known:
            if type(each) is not str:  # as most are
                yield from _strange(known[key], each, here)
        elif key not in SILENT.get(cls, ()):
            if key in _below_spec(known):
                yield here, "UnknownField", f"unknown field {key}, ignored; write it below spec"
                continue
            near = OTHER_WORDS.get(str(key))
            if near not in known:
                near = next(iter(difflib.get_close_matches(str(key)[:100], sorted(known), 1)), None)
            hint = f"; did you mean {near}?" if near else ""
            yield here, "UnknownField", f"unknown field {key}, ignored{hint}"


def _below_spec(known: Mapping[str, Any]) -> frozenset[str]:
    """Fields of `spec`, where a struct with *known* fields has one."""
    spec = _bare(known["spec"]) if "spec" in known else None
    if not (isinstance(spec, type) and issubclass(spec, msgspec.Struct)):
        return frozenset()
    return frozenset(_members(spec))


@cache
def _bare(type_: Any) -> Any:
    """The struct, or `(element, ...)` of a homogeneous tuple, inside Annotated and `| None`."""
    origin = get_origin(type_)
    if origin is Annotated:
        return _bare(get_args(type_)[0])
    if origin in (Union, UnionType):
        present = [each for each in get_args(type_) if each is not type(None)]
        return _bare(present[0]) if len(present) == 1 else type_
    return get_args(type_) if origin is tuple else type_
