"""Which Secrets, ConfigMaps and Pods the other objects need."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from headgate.model.meta import KubeObject, Labels, has_labels
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    BackendTLSPolicy,
    CaRef,
    Gateway,
    InferencePool,
    KeyRef,
    ListenerSet,
    ModelServer,
    ObjectRef,
    SecretKeyRef,
    SecretRef,
)

Reference = tuple[str, str, str]
"""Kind, namespace, name."""

REFERRING = (Gateway, ListenerSet, BackendTLSPolicy, AccessPolicy, BackendAuthPolicy, ModelServer)
"""Kinds that name Secrets and ConfigMaps."""

Selector = tuple[tuple[str, str], ...]
"""Labels of pods, sorted."""

Selectors = Mapping[str, frozenset[Selector]]
"""Namespace → those of each pool there."""


def references(objects: Iterable[KubeObject]) -> frozenset[Reference]:
    """Every Secret and ConfigMap that *objects* name, whether or not they may."""
    return frozenset(
        each
        for found in objects
        if isinstance(found, REFERRING)
        for each in _in(found.spec, found.namespace)
        if each[0] in ("Secret", "ConfigMap")
    )


def _in(value: Any, namespace: str) -> Iterator[Reference]:
    match value:
        case ObjectRef() | CaRef():
            if value.group == "":
                yield value.kind, value.namespace or namespace, value.name
        case SecretRef() | SecretKeyRef():
            yield "Secret", namespace, value.name
        case KeyRef():
            yield value.kind, namespace, value.name
        case msgspec.Struct():
            for name in value.__struct_fields__:
                yield from _in(getattr(value, name), namespace)
        case tuple():
            for each in value:
                yield from _in(each, namespace)
        case _:
            pass


def selectors(objects: Iterable[KubeObject]) -> Selectors:
    """What pools select by."""
    found: dict[str, set[Selector]] = {}
    for each in objects:
        if isinstance(each, InferencePool):
            labels = tuple(sorted(each.spec.selector.match_labels.items()))
            found.setdefault(each.namespace, set()).add(labels)
    return {namespace: frozenset(some) for namespace, some in found.items()}


def selected(wanted: Iterable[Selector], labels: Labels) -> bool:
    """Whether a pool selects a pod with these labels."""
    return any(has_labels(labels, dict(each)) for each in wanted)
