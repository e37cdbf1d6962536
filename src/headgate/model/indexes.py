"""The indexes over objects that both halves ask for."""

from collections.abc import Iterator, Mapping

from headgate.model.meta import KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    BackendTLSPolicy,
    EndpointSlice,
    FlowPolicy,
    GRPCRoute,
    HTTPRoute,
    InferenceModel,
    InferenceModelRewrite,
    InferenceObjective,
    InferencePool,
    ListenerSet,
    ModelServer,
    Pod,
)
from headgate.model.store import Index

SERVICE_LABEL = "kubernetes.io/service-name"
"""Label of EndpointSlices: the Service that they belong to."""


def by_label(each: KubeObject) -> Iterator[tuple[str, str, str, str]]:
    """(kind, namespace, key, value) of pods and model servers."""
    if isinstance(each, Pod | ModelServer):
        for key, value in each.metadata.labels.items():
            yield each.KIND, each.namespace, key, value


def by_service(each: KubeObject) -> Iterator[tuple[str, str]]:
    """(namespace, Service) of EndpointSlices."""
    if isinstance(each, EndpointSlice):
        owner = each.metadata.labels.get(SERVICE_LABEL)
        if owner is not None:
            yield each.namespace, owner


def by_pool(each: KubeObject) -> Iterator[tuple[str, str]]:
    """(namespace, pool) of InferenceModels, InferenceModelRewrites and InferenceObjectives."""
    if isinstance(each, InferenceModel | InferenceModelRewrite | InferenceObjective):
        yield each.namespace, each.spec.pool_ref.name


def by_parent(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """(kind, namespace, name) of what routes want to attach to."""
    if isinstance(each, HTTPRoute | GRPCRoute):
        for ref in each.spec.parent_refs:
            yield ref.kind, ref.namespace or each.namespace, ref.name


def by_backend(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """(kind, namespace, name) of what routes lead to."""
    if isinstance(each, HTTPRoute | GRPCRoute):
        for rule in each.spec.rules:
            for ref in rule.backend_refs:
                yield ref.kind, ref.namespace or each.namespace, ref.name


def by_pair(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """(kind, key, value) of the labels of pods and model servers, in whatever namespace."""
    if isinstance(each, Pod | ModelServer):
        for key, value in each.metadata.labels.items():
            yield each.KIND, key, value


def by_namespace(each: KubeObject) -> Iterator[tuple[str, str]]:
    """(kind, namespace), in whatever API group."""
    yield each.KIND, each.identity.namespace


def by_gateway(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """(kind, namespace, name) of what ListenerSets belong to."""
    if isinstance(each, ListenerSet):
        ref = each.spec.parent_ref
        yield ref.kind, ref.namespace or each.namespace, ref.name


def by_policy_target(each: KubeObject) -> Iterator[tuple[str, str, str, str]]:
    """(kind of the policy, kind, namespace, name) of what policies are for."""
    if isinstance(each, BackendTLSPolicy | AccessPolicy | BackendAuthPolicy | FlowPolicy):
        for ref in each.spec.target_refs:
            yield each.KIND, ref.kind, each.namespace, ref.name


def by_selector(each: KubeObject) -> Iterator[tuple[str, str, str]]:
    """(namespace, key, value) of what pools select by; two empty texts for one that selects everything."""
    if isinstance(each, InferencePool):
        for key, value in each.spec.selector.match_labels.items() or (("", ""),):
            yield each.namespace, key, value


INDEXES: Mapping[str, Index] = {
    "label": by_label,
    "pair": by_pair,
    "namespace": by_namespace,
    "service": by_service,
    "pool": by_pool,
    "parent": by_parent,
    "policy": by_policy_target,
    "selector": by_selector,
    "listener_set": by_gateway,
    "backend": by_backend,
}
"""Name → keys of an object."""
