"""How the Envoy of a Gateway is run on a cluster; `headgate.dev/v1alpha1`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from headgate.model.meta import HEADGATE_GROUP, KubeObject

Replicas = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Words = Mapping[str, str]
Anything = Mapping[str, Any]
"""Kubernetes' own words, which its API server checks."""


class Autoscaling(msgspec.Struct, frozen=True, rename="camel"):
    """A HorizontalPodAutoscaler by CPU; `replicas` means nothing then."""

    max_replicas: Replicas
    min_replicas: Replicas = 2
    target_cpu_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 70


class EnvoyParameters(msgspec.Struct, frozen=True, rename="camel"):
    """The Envoy container."""

    image: Annotated[str, msgspec.Meta(max_length=1024)] = ""
    """Empty: the controller's."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    resources: Anything = msgspec.field(default_factory=dict)
    """A container's `resources`."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=256)] = 2
    """Worker threads."""
    heap_mi_b: Annotated[int, msgspec.Meta(ge=128, le=1 << 20)] = msgspec.field(default=1024, name="heapMiB")
    """Memory that Envoy may have allocated; near it, it refuses requests."""
    log_level: Literal["trace", "debug", "info", "warning", "error", "critical"] = "warning"
    extra_args: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=1024)], ...], msgspec.Meta(max_length=32)
    ] = ()


class PodParameters(msgspec.Struct, frozen=True, rename="camel"):
    """The Pods that Envoy runs in."""

    labels: Words = msgspec.field(default_factory=dict)
    annotations: Words = msgspec.field(default_factory=dict)
    node_selector: Words = msgspec.field(default_factory=dict)
    tolerations: tuple[Anything, ...] = ()
    affinity: Anything = msgspec.field(default_factory=dict)
    topology_spread_constraints: tuple[Anything, ...] = ()
    priority_class_name: str = ""
    image_pull_secrets: tuple[Anything, ...] = ()
    drain_seconds: Annotated[int, msgspec.Meta(ge=0, le=3600)] = 30
    """How long a Pod that is to end serves on, while clients are told to go elsewhere."""


class ServiceParameters(msgspec.Struct, frozen=True, rename="camel"):
    """The Service in front of them."""

    type: Literal["LoadBalancer", "NodePort", "ClusterIP"] = "LoadBalancer"
    annotations: Words = msgspec.field(default_factory=dict)
    load_balancer_class: str = ""
    external_traffic_policy: Literal["Cluster", "Local"] | None = None


class GatewayParametersSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Every field has a default."""

    replicas: Replicas = 1
    envoy: EnvoyParameters = EnvoyParameters()
    pod: PodParameters = PodParameters()
    service: ServiceParameters = ServiceParameters()
    autoscaling: Autoscaling | None = None
    min_available: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    """Of a PodDisruptionBudget; none without."""


class GatewayParameters(KubeObject, frozen=True, kw_only=True):
    """Named by a Gateway's `spec.infrastructure.parametersRef`, or by its class's `spec.parametersRef`."""

    KIND: ClassVar[str] = "GatewayParameters"
    GROUP: ClassVar[str] = HEADGATE_GROUP
    spec: GatewayParametersSpec = GatewayParametersSpec()
