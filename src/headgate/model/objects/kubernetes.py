"""Kubernetes' own objects, as far as a gateway needs them: Service, EndpointSlice, Pod, Namespace."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import msgspec

from headgate.model.meta import DISCOVERY_GROUP, KubeObject, PortNumber


class ServicePort(msgspec.Struct, frozen=True, rename="camel"):
    """A port of a Service; EndpointSlices carry the same `name`."""

    port: PortNumber
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None
    target_port: int | str | None = None


class ServiceSpec(msgspec.Struct, frozen=True, rename="camel"):
    """Ports and type; the endpoints are in EndpointSlices."""

    ports: tuple[ServicePort, ...] = ()
    type: str = "ClusterIP"


class Service(KubeObject, frozen=True, kw_only=True):
    """A named set of endpoints."""

    KIND: ClassVar[str] = "Service"
    spec: ServiceSpec = ServiceSpec()


class Secret(KubeObject, frozen=True, kw_only=True, rename="camel"):
    """Values that nobody may see. They are looked at where they are used, so that no error shows any."""

    KIND: ClassVar[str] = "Secret"
    data: Any = None
    """Name → base64, by rights."""
    string_data: Any = None
    """Name → text, by rights."""

    def __repr__(self) -> str:
        """Its name and no value."""
        return f"Secret({self.namespace}/{self.name})"


class ConfigMap(KubeObject, frozen=True, kw_only=True, rename="camel"):
    """Values by name."""

    KIND: ClassVar[str] = "ConfigMap"
    data: Mapping[str, str] = msgspec.field(default_factory=dict)


class EndpointConditions(msgspec.Struct, frozen=True):
    """Kubernetes' rule: an unset `ready` counts as ready."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class SliceEndpoint(msgspec.Struct, frozen=True, rename="camel"):
    """Addresses of one pod; they are fungible and the first is used."""

    addresses: tuple[str, ...]
    conditions: EndpointConditions = EndpointConditions()


class SlicePort(msgspec.Struct, frozen=True, rename="camel"):
    """A port of every endpoint of the slice: the target port, resolved."""

    port: PortNumber | None = None
    name: str = ""
    protocol: str = "TCP"
    app_protocol: str | None = None


class EndpointSlice(KubeObject, frozen=True, kw_only=True, rename="camel"):
    """Endpoints of the Service named by the label `kubernetes.io/service-name`."""

    KIND: ClassVar[str] = "EndpointSlice"
    GROUP: ClassVar[str] = DISCOVERY_GROUP
    address_type: Literal["IPv4", "IPv6", "FQDN"] = "IPv4"
    endpoints: tuple[SliceEndpoint, ...] = ()
    ports: tuple[SlicePort, ...] = ()


class PodIP(msgspec.Struct, frozen=True):
    """One of a pod's addresses."""

    ip: str


class PodCondition(msgspec.Struct, frozen=True):
    """One of a pod's conditions."""

    type: str
    status: str


class PodStatus(msgspec.Struct, frozen=True):
    """Address and conditions."""

    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    pod_ips: tuple[PodIP, ...] = msgspec.field(default=(), name="podIPs")
    conditions: tuple[PodCondition, ...] = ()


class Pod(KubeObject, frozen=True, kw_only=True):
    """A pod, of which only labels, annotations and status matter here."""

    KIND: ClassVar[str] = "Pod"
    status: PodStatus = PodStatus()

    @property
    def ready(self) -> bool:
        """Condition Ready is True, or there are no conditions at all, as in files written by hand.

        A pod without an address or with a deletionTimestamp is never ready.
        """
        if self.ip is None or self.metadata.deletion_timestamp is not None:
            return False
        conditions = self.status.conditions
        return not conditions or any(each.type == "Ready" and each.status == "True" for each in conditions)

    @property
    def ip(self) -> str | None:
        """`status.podIP`, or the first of `status.podIPs`."""
        return self.status.pod_ip or next((each.ip for each in self.status.pod_ips), None)


class Namespace(KubeObject, frozen=True, kw_only=True):
    """A namespace, for the labels that `allowedRoutes` selectors ask for."""

    KIND: ClassVar[str] = "Namespace"
    NAMESPACED: ClassVar[bool] = False
