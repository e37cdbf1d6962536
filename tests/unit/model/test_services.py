"""Service ports joined to EndpointSlices."""

from headgate.model.forbidden import Own
from headgate.model.meta import Meta
from headgate.model.objects.kubernetes import (
    EndpointConditions,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
)
from headgate.model.services import SERVICE_LABEL, Services

HTTP, GRPC = ServicePort(80, "http"), ServicePort(81, "grpc")
SERVICE = Service(metadata=Meta(name="s"), spec=ServiceSpec((HTTP, GRPC, ServicePort(82, "udp", "UDP"))))


def piece(*endpoints: SliceEndpoint, **ports: int) -> EndpointSlice:
    return EndpointSlice(
        metadata=Meta(name=f"s-{len(endpoints)}", labels={SERVICE_LABEL: "s"}),
        endpoints=endpoints,
        ports=tuple(SlicePort(number, name) for name, number in ports.items()),
    )


def test_ports_are_joined_by_name_over_all_slices() -> None:
    ready = SliceEndpoint(("10.0.0.2", "10.0.0.9"))
    leaving = SliceEndpoint(("10.0.0.3",), EndpointConditions(terminating=True))
    unready = SliceEndpoint(("10.0.0.4",), EndpointConditions(ready=False))
    services = Services(
        [
            SERVICE,
            piece(ready, leaving, unready, http=8000),
            piece(SliceEndpoint(("10.0.0.1",)), http=8001, grpc=9),
        ]
    )
    found = services.get("default", "s")
    assert found is SERVICE
    assert [each.id for each in services.addresses(SERVICE, HTTP)] == ["10.0.0.1:8001", "10.0.0.2:8000"]
    assert [each.id for each in services.addresses(SERVICE, GRPC)] == ["10.0.0.1:9"]


def test_only_tcp_ports_are_ports() -> None:
    services = Services([SERVICE])
    assert services.port(SERVICE, 80) == HTTP
    assert services.port(SERVICE, 82) is None and services.port(SERVICE, 1) is None
    assert services.get("other", "s") is None


def test_addresses_that_no_backend_may_have_are_left_out_and_told() -> None:
    places = [SliceEndpoint((ip,)) for ip in ("10.0.0.1", "169.254.169.254", "127.0.0.1")]
    services = Services([SERVICE, piece(*places, http=15000)], Own(frozenset({15000})))
    assert [each.id for each in services.addresses(SERVICE, HTTP)] == ["10.0.0.1:15000"]
    told = [(each.place.field, each.reason, each.message.split()[0]) for each in services.problems]
    assert told == [
        ("endpoints[1].addresses[0]", "ForbiddenAddress", "169.254.169.254:15000"),
        ("endpoints[2].addresses[0]", "ForbiddenAddress", "127.0.0.1:15000"),
    ]
