"""Which addresses this machine has, as the kernel lists them."""

import socket
from pathlib import Path

from headgate.io.here import local_addresses

TRIE = """Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.0.0.0/24 2 0 2
        |-- 10.0.0.0
           /24 link UNICAST
        |-- 10.0.0.5
           /32 host LOCAL
        |-- 10.0.0.255
           /32 link BROADCAST
Local:
        |-- 127.0.0.1
           /32 host LOCAL
"""
INET6 = "20010db8000000000000000000000005 02 40 00 80     eth0\n"


def test_addresses_are_read_from_the_kernels_tables(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(TRIE)
    (tmp_path / "if_inet6").write_text(INET6)
    assert local_addresses(tmp_path) == {"10.0.0.5", "127.0.0.1", "2001:db8::5"}


def test_a_system_that_lists_none_has_none(tmp_path: Path) -> None:
    (tmp_path / "if_inet6").write_text("no hex at all\n")
    assert local_addresses(tmp_path) == frozenset()


def test_each_of_this_machines_addresses_can_be_bound() -> None:
    found = local_addresses()
    assert "127.0.0.1" in found
    for each in found:
        if ":" not in each:
            with socket.socket() as probe:
                probe.bind((each, 0))
