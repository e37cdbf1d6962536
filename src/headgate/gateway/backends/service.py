"""Service backends: the addresses in its EndpointSlices."""

from typing import ClassVar

from headgate.gateway import ir
from headgate.gateway.api import BackendPlugin, Unresolved, missing
from headgate.gateway.envoy import names
from headgate.gateway.plan import backend_tls
from headgate.model import services
from headgate.model.endpoints import Endpoint
from headgate.model.objects import BackendRef, Service
from headgate.model.store import Store

_H2C = ("kubernetes.io/h2c", "http2")


class ServiceBackend(BackendPlugin):
    """A Service port."""

    KINDS: ClassVar[tuple[tuple[str, str], ...]] = (("", "Service"),)
    PREFIX: ClassVar[str] = names.SERVICE

    @classmethod
    def resolve(cls, world: Store, ref: BackendRef, namespace: str) -> ir.Backend | Unresolved:
        """The port of the Service that is named."""
        service = world.object(Service, namespace, ref.name)
        if service is None:
            return missing(world, "Service", namespace, ref.name)
        if service.spec.type == "ExternalName":
            message = f"Service {namespace}/{ref.name} is an ExternalName: not supported"
            return Unresolved("UnsupportedValue", message)
        found = cls.of_cluster(world, f"{namespace}/{ref.name}:{ref.port or 0}")
        if found is not None:
            return found
        tls = world.get(backend_tls.of_service, namespace, ref.name, ref.port or 0)
        if isinstance(tls, backend_tls.Wrong):
            message = f"the BackendTLSPolicy of Service {namespace}/{ref.name} is wrong (see there)"
            return Unresolved("InvalidBackendTLSPolicy", message)
        numbers = [str(port.port) for port in service.spec.ports if port.protocol == "TCP"]
        there = f"; it has {', '.join(numbers)}" if numbers else ""
        message = f"Service {namespace}/{ref.name} has no TCP port {ref.port}{there}"
        return Unresolved("BackendNotFound", message)

    @classmethod
    def of_cluster(cls, world: Store, rest: str) -> ir.Backend | None:
        """*rest* is `namespace/name:port`."""
        namespace, name, number = _parts(rest)
        port = services.service_port(world, namespace, name, number)
        if port is None:
            return None
        tls = world.get(backend_tls.of_service, namespace, name, number)
        if isinstance(tls, backend_tls.Wrong):
            return None
        return ir.HostsBackend(
            names.service(namespace, name, number),
            protocol="h2c" if port.app_protocol in _H2C else "http",
            tls=() if tls is None else ((backend_tls.EVERY_ENDPOINT, tls),),
        )

    @classmethod
    def endpoints(cls, world: Store, rest: str) -> tuple[Endpoint, ...]:
        """The ready addresses."""
        namespace, name, number = _parts(rest)
        return tuple(
            Endpoint(id=each.id, ip=each.ip, port=each.port, name=name, namespace=namespace)
            for each in world.get(services.service_addresses, namespace, name, number)
        )


def _parts(rest: str) -> tuple[str, str, int]:
    namespace, _, more = rest.partition("/")
    name, _, port = more.rpartition(":")
    return namespace, name, int(port)
