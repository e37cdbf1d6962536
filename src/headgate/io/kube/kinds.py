"""Which kinds are followed on a cluster, and how an object that came from it is read."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec.structs import replace

from headgate.io.kube.client import Collection
from headgate.manifests.decode import Decoded, decode
from headgate.manifests.schema import CLUSTER_ONLY
from headgate.model import meta
from headgate.model.meta import Identity, Origin
from headgate.model.objects import ModelServer
from headgate.model.problems import Problem


class Followed(msgspec.Struct, frozen=True):
    """A kind, and the versions of it that are read, the best first."""

    group: str
    versions: tuple[str, ...]
    plural: str
    kind: str
    namespaced: bool = True

    def collections(self) -> tuple[Collection, ...]:
        """Of each version."""
        return tuple(Collection(self.group, version, self.plural) for version in self.versions)


def _gateway(plural: str, kind: str, *versions: str, namespaced: bool = True) -> Followed:
    return Followed(meta.GATEWAY_GROUP, versions or ("v1",), plural, kind, namespaced)


WHOLE = (
    _gateway("gatewayclasses", "GatewayClass", "v1", "v1beta1", namespaced=False),
    _gateway("gateways", "Gateway", "v1", "v1beta1"),
    _gateway("httproutes", "HTTPRoute", "v1", "v1beta1"),
    _gateway("grpcroutes", "GRPCRoute"),
    _gateway("listenersets", "ListenerSet"),
    _gateway("backendtlspolicies", "BackendTLSPolicy"),
    _gateway("referencegrants", "ReferenceGrant", "v1", "v1beta1"),
    Followed(meta.INFERENCE_GROUP, ("v1",), "inferencepools", "InferencePool"),
    Followed(meta.INFERENCE_X_GROUP, ("v1alpha2",), "inferencepools", "InferencePool"),
    Followed(meta.INFERENCE_X_GROUP, ("v1alpha1",), "inferencepoolimports", "InferencePoolImport"),
    Followed(meta.INFERENCE_X_GROUP, ("v1alpha2",), "inferencemodels", "InferenceModel"),
    Followed(meta.INFERENCE_X_GROUP, ("v1alpha2",), "inferenceobjectives", "InferenceObjective"),
    Followed(meta.LLM_D_GROUP, ("v1alpha2",), "inferenceobjectives", "InferenceObjective"),
    Followed(meta.INFERENCE_X_GROUP, ("v1alpha2",), "inferencemodelrewrites", "InferenceModelRewrite"),
    Followed(meta.LLM_D_GROUP, ("v1alpha2",), "inferencemodelrewrites", "InferenceModelRewrite"),
    Followed(meta.HEADGATE_GROUP, ("v1alpha1",), "modelservers", "ModelServer"),
    Followed(meta.HEADGATE_GROUP, ("v1alpha1",), "accesspolicies", "AccessPolicy"),
    Followed(meta.HEADGATE_GROUP, ("v1alpha1",), "backendauthpolicies", "BackendAuthPolicy"),
    Followed(meta.HEADGATE_GROUP, ("v1alpha1",), "flowpolicies", "FlowPolicy"),
    Followed(meta.HEADGATE_GROUP, ("v1alpha1",), "gatewayparameters", "GatewayParameters"),
    Followed("", ("v1",), "services", "Service"),
    Followed("", ("v1",), "namespaces", "Namespace", namespaced=False),
    Followed(meta.DISCOVERY_GROUP, ("v1",), "endpointslices", "EndpointSlice"),
)
"""Kinds of which every object counts."""

_OF_PICKER = frozenset(
    {
        *("InferencePool", "InferenceModel", "InferenceModelRewrite", "InferenceObjective"),
        *("FlowPolicy", "ModelServer", "Service", "EndpointSlice"),
    }
)
OF_PICKER = tuple(each for each in WHOLE if each.kind in _OF_PICKER)
"""Those of them that a picker needs."""

REQUIRED = frozenset({"GatewayClass", "Gateway", "HTTPRoute"})
"""Without these kinds of the Gateway API there is nothing to serve."""

PODS = Followed("", ("v1",), "pods", "Pod")
"""Of these, those that a pool selects."""

REFERRED: Mapping[str, Followed] = {
    "Secret": Followed("", ("v1",), "secrets", "Secret"),
    "ConfigMap": Followed("", ("v1",), "configmaps", "ConfigMap"),
}
"""Of these, those that an object names; by kind."""

WITH_STATUS = ("Pod", "InferencePoolImport")
"""Kinds whose status is an input."""

WITH_UID = ("Gateway", "GatewayClass")
"""Kinds whose objects are named by what we write."""

ANNOTATIONS = tuple(
    f"{group}/"
    for group in (meta.HEADGATE_GROUP, meta.INFERENCE_GROUP, meta.INFERENCE_X_GROUP, meta.LLM_D_GROUP)
)
"""Beginnings of the annotations that are kept; others may be a quarter of a megabyte long."""

_METADATA = (
    "name",
    "namespace",
    "labels",
    "annotations",
    "creationTimestamp",
    "deletionTimestamp",
    "generation",
)


def metadata_of(raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its metadata; empty when it has none."""
    found = raw.get("metadata")
    return found if isinstance(found, Mapping) else {}


def identity_of(followed: Followed, raw: Mapping[str, Any]) -> Identity:
    """Whom a raw object is, however wrong the rest of it."""
    named = metadata_of(raw)
    namespace = str(named.get("namespace", "")) if followed.namespaced else ""
    return Identity(followed.kind, namespace, str(named.get("name", "")), followed.group)


def read(followed: Followed, version: str, raw: Mapping[str, Any]) -> Decoded:
    """An object, of what the gateway needs of it alone. Never raises for wrong data."""
    kept = {key: value for key, value in raw.items() if key != "status" or followed.kind in WITH_STATUS}
    if followed is PODS:
        kept.pop("spec", None)
    found = metadata_of(raw)
    metadata = {key: found[key] for key in _METADATA if key in found}
    if followed.kind in WITH_UID and "uid" in found:
        metadata["uid"] = found["uid"]
    notes = metadata.get("annotations")
    if isinstance(notes, Mapping):
        metadata["annotations"] = {
            key: value for key, value in notes.items() if str(key).startswith(ANNOTATIONS)
        }
    api = Collection(followed.group, version, followed.plural).api_version
    document = {**kept, "apiVersion": api, "kind": followed.kind, "metadata": metadata}
    decoded = decode(document, "", lambda _: 0)
    if decoded.object is None:
        return decoded
    if isinstance(decoded.object, ModelServer) and (named := _names_files(decoded.object)):
        message = (
            "an object of a cluster cannot name a file of the gateway's; use a Secret, or a BackendTLSPolicy"
        )
        place = replace(decoded.object.place(named), line=0)
        return Decoded(None, decoded.identity, (Problem(place, "InvalidValue", message),))
    problems = tuple(each for each in decoded.problems if each.reason != CLUSTER_ONLY)
    return replace(decoded, object=replace(decoded.object, origin=_NOWHERE), problems=problems)


_NOWHERE = Origin()
"""One for all: objects of a cluster have no lines."""


def _names_files(server: ModelServer) -> str:
    if server.spec.tls is not None and server.spec.tls.ca_file:
        return "spec.tls.caFile"
    if server.spec.api_key is not None and server.spec.api_key.file:
        return "spec.apiKey.file"
    return ""


Keep = Callable[[Mapping[str, Any]], bool]
"""Whether a raw object counts."""
