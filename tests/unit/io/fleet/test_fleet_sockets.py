"""Sockets and URLs."""

import socket

import pytest

from headgate.io.fleet.sockets import base_url, bind


def test_a_free_port_is_found_and_a_taken_one_is_refused() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        port = first.getsockname()[1]
        assert port > 0
        with pytest.raises(OSError, match="in use"):
            bind("127.0.0.1", port)


def test_a_port_can_be_used_again_at_once() -> None:
    with bind("127.0.0.1", 0) as first:
        first.listen()
        address = first.getsockname()
        with socket.create_connection(address), first.dup():
            pass
    with bind(*address) as second:
        assert second.getsockname() == address


def test_ipv6_addresses_stand_in_brackets() -> None:
    assert base_url("127.0.0.1", 80) == "http://127.0.0.1:80"
    assert base_url("::1", 80) == "http://[::1]:80"
