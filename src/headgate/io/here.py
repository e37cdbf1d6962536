"""The addresses of this machine. Linux only; elsewhere none is known."""

import contextlib
from ipaddress import IPv6Address
from pathlib import Path


def local_addresses(proc: Path = Path("/proc/net")) -> frozenset[str]:
    """IPv4 and IPv6 addresses of this machine's interfaces, as text."""
    found: set[str] = set()
    with contextlib.suppress(OSError):
        candidate = ""
        for line in (proc / "fib_trie").read_text().splitlines():
            if "|--" in line:
                candidate = line.split()[-1]
            elif "/32 host LOCAL" in line:
                found.add(candidate)
    with contextlib.suppress(OSError, ValueError):
        for line in (proc / "if_inet6").read_text().splitlines():
            found.add(str(IPv6Address(bytes.fromhex(line.split()[0]))))
    return frozenset(found)
