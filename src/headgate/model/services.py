"""Services and their EndpointSlices: which addresses answer behind a Service port."""

from collections.abc import Iterator, Sequence

import msgspec

from headgate.model.forbidden import Own, refusal
from headgate.model.ids import EndpointId, endpoint_id
from headgate.model.meta import KubeObject, of_type
from headgate.model.objects.kubernetes import EndpointSlice, Service, ServicePort, SliceEndpoint
from headgate.model.problems import Problem

SERVICE_LABEL = "kubernetes.io/service-name"


class ServiceAddress(msgspec.Struct, frozen=True, order=True):
    """One ready address behind a Service port."""

    ip: str
    port: int

    @property
    def id(self) -> EndpointId:
        """`ip:port`, IPv6 in brackets."""
        return endpoint_id(self.ip, self.port)


class Services:
    """Services of one snapshot with their ready addresses, indexed once; forbidden addresses are left out."""

    def __init__(self, objects: Sequence[KubeObject], own: Own = Own()) -> None:  # noqa: B008 - frozen
        self._own = own
        self._services = {(each.namespace, each.name): each for each in of_type(objects, Service)}
        self._names: dict[str, list[str]] = {}
        for namespace, name in sorted(self._services):
            self._names.setdefault(namespace, []).append(name)
        self._slices: dict[tuple[str, str], list[EndpointSlice]] = {}
        for each in of_type(objects, EndpointSlice):
            owner = each.metadata.labels.get(SERVICE_LABEL)
            if owner is not None:
                self._slices.setdefault((each.namespace, owner), []).append(each)

    def get(self, namespace: str, name: str) -> Service | None:
        """The Service, or None."""
        return self._services.get((namespace, name))

    def names(self, namespace: str) -> list[str]:
        """Names of the Services there, in order."""
        return self._names.get(namespace, [])

    def port(self, service: Service, number: int) -> ServicePort | None:
        """The Service's TCP port *number*, or None when it does not have it."""
        ports = (port for port in service.spec.ports if port.port == number and port.protocol == "TCP")
        return next(ports, None)

    def addresses(self, service: Service, port: ServicePort) -> tuple[ServiceAddress, ...]:
        """Ready addresses behind *port*, ordered; slices are joined to it by port name."""
        slices = self._slices.get((service.namespace, service.name), [])
        found = {address for each in slices for address in _of_slice(each, port)}
        return tuple(sorted(each for each in found if refusal(each.ip, each.port, self._own) is None))

    @property
    def problems(self) -> list[Problem]:
        """Addresses of EndpointSlices that are left out."""
        return [
            Problem(each.place(f"endpoints[{index}].addresses[0]"), "ForbiddenAddress", message)
            for slices in self._slices.values()
            for each in slices
            for index, endpoint in enumerate(each.endpoints)
            for message in self._refusals(each, endpoint)
        ]

    def _refusals(self, found: EndpointSlice, endpoint: SliceEndpoint) -> Iterator[str]:
        for port in found.ports:
            if endpoint.addresses and port.port is not None and found.address_type != "FQDN":
                ip = endpoint.addresses[0]
                if why := refusal(ip, port.port, self._own):
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
