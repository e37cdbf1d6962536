"""Service backends: ready addresses from EndpointSlices."""

from typing import ClassVar

from headgate.gateway.api import BackendKind, HostsTarget, Target, Unresolved, World
from headgate.gateway.envoy import names
from headgate.model.endpoints import Endpoint
from headgate.model.objects import BackendRef, Service


class ServiceBackend(BackendKind):
    """A core Service; one without ready endpoints answers 503."""

    kinds: ClassVar[tuple[tuple[str, str], ...]] = (("", "Service"),)

    def resolve(self, ref: BackendRef, namespace: str, world: World) -> Target | Unresolved:
        """The Service's ready addresses on the referenced port."""
        service = world.services.get(namespace, ref.name)
        if service is None:
            return world.missing("Service", namespace, ref.name)
        port = world.services.port(service, ref.port or 0)
        if port is None:
            return Unresolved(
                "BackendNotFound",
                f"Service {namespace}/{ref.name} has no TCP port {ref.port}{_ports(service)}",
            )
        if service.spec.type == "ExternalName":
            return Unresolved(
                "UnsupportedValue", f"Service {namespace}/{ref.name} is an ExternalName: not supported"
            )
        return HostsTarget(
            cluster=names.service(namespace, ref.name, port.port),
            endpoints=tuple(
                Endpoint(id=each.id, ip=each.ip, port=each.port, name=ref.name, namespace=namespace)
                for each in world.services.addresses(service, port)
            ),
            h2c=port.app_protocol in ("kubernetes.io/h2c", "http2"),
        )


def _ports(service: Service) -> str:
    numbers = [str(port.port) for port in service.spec.ports if port.protocol == "TCP"]
    return f"; it has {', '.join(numbers)}" if numbers else ""
