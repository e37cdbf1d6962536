"""Service ports joined to EndpointSlices."""

from headgate.model.change import Change
from headgate.model.forbidden import Own
from headgate.model.indexes import INDEXES, SERVICE_LABEL
from headgate.model.meta import KubeObject, Meta
from headgate.model.objects.kubernetes import (
    EndpointConditions,
    EndpointSlice,
    Service,
    ServicePort,
    ServiceSpec,
    SliceEndpoint,
    SlicePort,
)
from headgate.model.services import service_addresses, service_port, service_problems
from headgate.model.store import Store

HTTP, GRPC = ServicePort(80, "http"), ServicePort(81, "grpc")
SERVICE = Service(metadata=Meta(name="s"), spec=ServiceSpec((HTTP, GRPC, ServicePort(82, "udp", "UDP"))))


def piece(*endpoints: SliceEndpoint, **ports: int) -> EndpointSlice:
    return EndpointSlice(
        metadata=Meta(name=f"s-{len(endpoints)}", labels={SERVICE_LABEL: "s"}),
        endpoints=endpoints,
        ports=tuple(SlicePort(number, name) for name, number in ports.items()),
    )


def stored(*objects: KubeObject, own: Own = Own()) -> Store:  # noqa: B008 - frozen
    world = Store(INDEXES)
    world.apply(Change(each.identity, each) for each in objects)
    world.set("settings", "own", own)
    return world


def addresses(world: Store, port: int) -> list[str]:
    return [each.id for each in world.get(service_addresses, "default", "s", port)]


def test_ports_are_joined_by_name_over_all_slices() -> None:
    ready = SliceEndpoint(("10.0.0.2", "10.0.0.9"))
    leaving = SliceEndpoint(("10.0.0.3",), EndpointConditions(terminating=True))
    unready = SliceEndpoint(("10.0.0.4",), EndpointConditions(ready=False))
    world = stored(
        SERVICE,
        piece(ready, leaving, unready, http=8000),
        piece(SliceEndpoint(("10.0.0.1",)), http=8001, grpc=9),
    )
    assert addresses(world, 80) == ["10.0.0.1:8001", "10.0.0.2:8000"]
    assert addresses(world, 81) == ["10.0.0.1:9"]


def test_only_tcp_ports_are_ports() -> None:
    world = stored(SERVICE)
    assert service_port(world, "default", "s", 80) == HTTP
    assert service_port(world, "default", "s", 82) is None
    assert service_port(world, "default", "s", 1) is None
    assert service_port(world, "other", "s", 80) is None


def test_addresses_that_no_backend_may_have_are_left_out_and_told() -> None:
    places = [SliceEndpoint((ip,)) for ip in ("10.0.0.1", "169.254.169.254", "127.0.0.1")]
    world = stored(SERVICE, piece(*places, http=15000), own=Own(frozenset({15000})))
    assert addresses(world, 80) == ["10.0.0.1:15000"]
    found = world.get(service_problems, "default", "s")
    told = [(each.place.field, each.reason, each.message.split()[0]) for each in found]
    assert told == [
        ("endpoints[1].addresses[0]", "ForbiddenAddress", "169.254.169.254:15000"),
        ("endpoints[2].addresses[0]", "ForbiddenAddress", "127.0.0.1:15000"),
    ]


def test_on_a_cluster_the_own_service_is_nobodys_mistake() -> None:
    here = SliceEndpoint(("127.0.0.1",))
    world = stored(SERVICE, piece(here, http=9002), own=Own(frozenset({9002})))
    assert len(world.get(service_problems, "default", "s")) == 1
    world.set("settings", "cluster", True)
    assert world.get(service_problems, "default", "s") == ()
    assert addresses(world, 80) == []  # and no backend all the same
