"""Ports are settled before anything starts."""

import socket

import pytest
from msgspec.structs import replace

from headgate.app.run.listen_ports import FREE_RANGE, Ports, PortTakenError, settle

FREE = Ports(gateway=0, metrics=0, admin=0)


def test_zero_means_any_free_port_each_a_different_one() -> None:
    settled = settle(replace(FREE, https=0), "127.0.0.1")
    chosen = [getattr(settled, name) for name in settled.__struct_fields__ if name != "envoy_admin"]
    assert len(set(chosen)) == len(chosen) == 4
    assert all(FREE_RANGE[0] <= port <= FREE_RANGE[1] for port in chosen)
    assert settled.envoy_admin is None


def test_a_port_that_is_taken_is_drawn_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        first = taken.getsockname()[1]
        draws = iter([first, *range(28_000, 28_100)])
        assert settle(FREE, "127.0.0.1", lambda low, high: next(draws)).gateway != first


def test_a_taken_port_names_the_port_and_the_flag() -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as Envoy's listeners do
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"{port} is taken.*--metrics-port"):
            settle(Ports(gateway=0, metrics=port, admin=0), "127.0.0.1")


def test_one_port_for_two_flags_is_refused() -> None:
    with pytest.raises(PortTakenError, match=r"--metrics-port and --admin-port"):
        settle(Ports(gateway=0, metrics=28_111, admin=28_111), "127.0.0.1")


def test_an_address_of_another_machine_is_said_in_words() -> None:
    with pytest.raises(PortTakenError, match=r"192\.0\.2\.1 cannot be opened"):
        settle(Ports(gateway=28_222, metrics=0, admin=0), "192.0.2.1")


def test_an_unknown_host_names_its_flag() -> None:
    with pytest.raises(PortTakenError, match=r"no\.host\.invalid.*--host"):
        settle(Ports(gateway=28_222, metrics=0, admin=0), "no.host.invalid")


def test_all_taken_ports_are_named_at_once() -> None:
    with socket.socket() as one, socket.socket() as two:
        for taken in (one, two):
            taken.bind(("127.0.0.1", 0))
            taken.listen()
        ports = Ports(
            gateway=one.getsockname()[1],
            metrics=0,
            admin=two.getsockname()[1],
        )
        with pytest.raises(PortTakenError) as caught:
            settle(ports, "127.0.0.1")
    first, second, advice = str(caught.value).splitlines()
    assert "--port" in first
    assert "--admin-port" in second
    assert "--port 0 --metrics-port 0 --admin-port 0" in advice
