"""Where listeners are bound, and which of several that want the same are served."""

import pytest
from tests import manifests as manifest
from tests.manifests import Manifest
from tests.resolved import world

from headgate.gateway.plan.classes import ALL
from headgate.gateway.plan.listeners import Listener, bound_port, dataplane_listeners
from headgate.gateway.settings import GatewaySettings


@pytest.mark.parametrize(
    ("declared", "mapped", "per_gateway", "expected"),
    [
        (80, {}, False, 8080),
        (443, {}, False, 8443),
        (81, {}, False, 81),
        (81, {81: 1}, False, 1),
        (80, {80: 3}, False, 3),
        (80, {}, True, 80),
    ],
)
def test_a_port_is_bound_by_its_number_alone(
    declared: int, mapped: dict[int, int], per_gateway: bool, expected: int
) -> None:
    assert bound_port(declared, GatewaySettings(port_map=mapped, per_gateway=per_gateway)) == expected


def gateway(name: str, *listeners: Manifest, namespace: str = "default") -> Manifest:
    spec = {"gatewayClassName": "headgate", "listeners": list(listeners)}
    return manifest.manifest("Gateway", name, spec, namespace=namespace)


def listener(name: str, port: int = 80, **more: object) -> Manifest:
    return {"name": name, "port": port, "protocol": "HTTP", **more}


def judged(*objects: Manifest) -> list[Listener]:
    return list(world(manifest.snapshot(*objects)).get(dataplane_listeners, ALL))


def test_another_gateway_moves_no_port() -> None:
    alone = judged(gateway("old", listener("a", 9000)))
    beside = judged(gateway("old", listener("a", 9000)), gateway("new", listener("b", 80)))
    assert [each.port for each in alone] == [9000]
    assert [each.port for each in beside if each.gateway.name == "old"] == [9000]


def test_of_two_gateways_on_one_port_and_host_one_is_served() -> None:
    found = judged(
        gateway("gw", listener("http"), namespace="a"), gateway("gw", listener("http"), namespace="b")
    )
    assert [(each.gateway.namespace, each.reason) for each in found] == [
        ("a", "Accepted"),
        ("b", "HostnameConflict"),
    ]


def test_gateways_share_a_port_with_different_hosts() -> None:
    found = judged(
        gateway("one", listener("http", hostname="a.example")),
        gateway("two", listener("http", hostname="b.example")),
    )
    assert [each.reason for each in found] == ["Accepted", "Accepted"]


def test_two_declared_ports_at_one_bound_port_are_told() -> None:
    found = judged(gateway("gw", listener("a", 80), listener("b", 8080)))
    assert [each.reason for each in found] == ["Accepted", "PortUnavailable"]
    assert "--port-map 8080:PORT" in found[1].message
