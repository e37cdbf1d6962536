"""Services and their EndpointSlices: which addresses answer behind a Service port."""

from collections.abc import Iterator

import msgspec

from headgate.model.forbidden import OWN_PORT, refused
from headgate.model.ids import EndpointId, endpoint_id
from headgate.model.objects.kubernetes import EndpointSlice, Service, ServicePort, SliceEndpoint
from headgate.model.problems import Place, Problem
from headgate.model.store import Store


class ServiceAddress(msgspec.Struct, frozen=True, order=True):
    """One ready address behind a Service port."""

    ip: str
    port: int

    @property
    def id(self) -> EndpointId:
        """`ip:port`, IPv6 in brackets."""
        return endpoint_id(self.ip, self.port)


def service_port(world: Store, namespace: str, name: str, number: int) -> ServicePort | None:
    """The Service's TCP port *number*, or None where it is not there."""
    service = world.object(Service, namespace, name)
    ports = service.spec.ports if service is not None else ()
    return next((port for port in ports if port.port == number and port.protocol == "TCP"), None)


def service_addresses(world: Store, namespace: str, name: str, number: int) -> tuple[ServiceAddress, ...]:
    """Ready addresses behind a Service port, ordered; slices are joined to it by port name. Addresses that no
    backend may have are left out."""
    port = service_port(world, namespace, name, number)
    service = world.object(Service, namespace, name)
    if port is None or service is None or service.spec.type == "ExternalName":
        return ()
    found = {address for each in _slices(world, namespace, name) for address in _of_slice(each, port)}
    return tuple(sorted(each for each in found if refused(world, each.ip, each.port) is None))


def service_problems(world: Store, namespace: str, name: str) -> tuple[Problem, ...]:
    """Addresses of a Service's EndpointSlices that are left out."""
    return tuple(
        Problem(
            Place(object=str(each.identity), field=f"endpoints[{index}].addresses[0]"),
            "ForbiddenAddress",
            message,
        )
        for each in _slices(world, namespace, name)
        for index, endpoint in enumerate(each.endpoints)
        for message in _refusals(world, each, endpoint)
    )


def _slices(world: Store, namespace: str, name: str) -> tuple[EndpointSlice, ...]:
    found = (world.any_object(each) for each in world.indexed("service", (namespace, name)))
    return tuple(each for each in found if isinstance(each, EndpointSlice))


def _refusals(world: Store, found: EndpointSlice, endpoint: SliceEndpoint) -> Iterator[str]:
    for port in found.ports:
        if endpoint.addresses and port.port is not None and found.address_type != "FQDN":
            ip = endpoint.addresses[0]
            why = refused(world, ip, port.port)
            if why == OWN_PORT and world.entry("settings", "cluster"):
                continue  # a cluster has a Service of ours too, which is nobody's mistake
            if why:
                yield f"{endpoint_id(ip, port.port)} is not used: {why}"


def _of_slice(found: EndpointSlice, port: ServicePort) -> Iterator[ServiceAddress]:
    if found.address_type == "FQDN":
        return
    numbers = [each.port for each in found.ports if each.name == port.name and each.protocol == port.protocol]
    for endpoint in found.endpoints:
        if _ready(endpoint):
            for number in numbers:
                if number is not None and endpoint.addresses:
                    yield ServiceAddress(endpoint.addresses[0], number)


def _ready(endpoint: SliceEndpoint) -> bool:
    return endpoint.conditions.ready is not False and endpoint.conditions.terminating is not True
