"""Where no backend may be, however the address is written."""

import ipaddress

import hypothesis
import pytest
from hypothesis import strategies as st

from headgate.model.forbidden import Own, refusal, refused
from headgate.model.store import Store

OWN = Own(frozenset({8080, 15000}), frozenset({"10.0.0.5", "2001:db8::5"}))


@pytest.mark.parametrize(
    "ip",
    [
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fe80::1%eth0",
        "febf::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "fd00:ec2::254",
        "fd20:ce::254",
        "100.100.100.200",
        "168.63.129.16",
    ],
)
def test_link_local_and_metadata_addresses_are_refused_on_any_port(ip: str) -> None:
    assert refusal(ip, 80, Own())
    assert refusal(ip, 8000, OWN)


@pytest.mark.parametrize(
    "ip",
    [
        "127.0.0.1",
        "127.9.9.9",
        "::1",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:0.0.0.0",
        "10.0.0.5",
        "2001:db8::5",
        "2001:DB8:0::5",
    ],
)
def test_own_ports_are_refused_on_this_machine_and_others_are_not(ip: str) -> None:
    assert refusal(ip, 8080, OWN)
    assert refusal(ip, 15000, OWN)
    assert refusal(ip, 8000, OWN) is None


@pytest.mark.parametrize("ip", ["10.0.0.6", "192.168.1.1", "2001:db8::6", "172.17.0.1", "no address", ""])
def test_other_machines_may_use_our_port_numbers(ip: str) -> None:
    assert refusal(ip, 8080, OWN) is None


@hypothesis.given(st.ip_addresses(network="169.254.0.0/16"), st.integers(1, 65535))
def test_no_spelling_of_a_link_local_address_gets_by(ip: ipaddress.IPv4Address, port: int) -> None:
    mapped = ipaddress.IPv6Address(b"\0" * 10 + b"\xff\xff" + ip.packed)
    assert refusal(str(ip), port, Own())
    assert refusal(str(mapped), port, Own())
    assert refusal(mapped.exploded, port, Own())


@hypothesis.given(st.ip_addresses(network="127.0.0.0/8"), st.integers(1, 65535))
def test_loopback_model_servers_are_fine_but_on_own_ports(ip: ipaddress.IPv4Address, port: int) -> None:
    assert (refusal(str(ip), port, OWN) is None) == (port not in OWN.ports)


def admin(world: Store) -> str | None:
    return refused(world, "127.0.0.1", 9999)


def elsewhere(world: Store) -> str | None:
    return refused(world, "10.0.0.6", 9999)


def test_ports_of_listeners_are_our_own_too() -> None:
    world = Store({})
    assert world.get(admin) is None
    world.set("settings", "bound_ports", frozenset({9999}))
    assert world.get(admin) is None, "nothing is served"
    world.set("settings", "own", OWN)
    assert (world.get(admin), world.get(elsewhere)) == (refusal("127.0.0.1", 8080, OWN), None)
    runs = world.runs
    world.set("settings", "bound_ports", frozenset({9998}))
    assert (world.get(admin), world.get(elsewhere)) == (None, None)
    assert world.runs == runs + 1, "an address elsewhere does not depend on them"
    world.set("settings", "own", Own(frozenset({9999})))
    assert world.get(admin)
