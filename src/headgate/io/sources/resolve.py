"""Host names → addresses, for the URLs of ModelServers."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterable, Mapping

from headgate.model.meta import of_type
from headgate.model.objects import ModelServer, Object
from headgate.model.topology import is_ip, parse_url

TIMEOUT_S = 2.0


def hosts_of(objects: tuple[Object, ...]) -> tuple[str, ...]:
    """The host names (no IP addresses) in ModelServer URLs, in order, each once."""
    hosts = {_host(server.spec.url) for server in of_type(objects, ModelServer)}
    return tuple(sorted(host for host in hosts if host and not is_ip(host)))


def _host(url: str) -> str | None:
    parsed = parse_url(url)
    return None if isinstance(parsed, str) else parsed.host


def choose(infos: Iterable[tuple[int, str]]) -> tuple[str, ...]:
    """Addresses of one family, ordered, from (family, address) pairs: IPv4 when there is any, else IPv6.

    A server with addresses of both families is one server; each address is taken for an endpoint of its own.
    """
    found = sorted(set(infos))
    for family in (socket.AF_INET, socket.AF_INET6):
        if addresses := tuple(address for its, address in found if its == family):
            return addresses
    return ()


def lookup(host: str) -> tuple[str, ...]:
    """The addresses of *host*; empty when it does not resolve. Blocks as long as the resolver does."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return choose((int(family), str(address[0])) for family, _, _, _, address in infos)


def lookup_all(hosts: Iterable[str], timeout_s: float) -> dict[str, tuple[str, ...]]:
    """The addresses of all *hosts* at once; a host without an answer in *timeout_s* seconds is missing."""
    found: dict[str, tuple[str, ...]] = {}

    def look(host: str) -> None:
        if addresses := lookup(host):
            found[host] = addresses

    until = time.monotonic() + timeout_s
    threads = [threading.Thread(target=look, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, until - time.monotonic()))
    return dict(sorted(found.items()))


class Resolver:
    """Addresses over time: the last good answer stays while a host does not resolve."""

    def __init__(self, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._known: dict[str, tuple[str, ...]] = {}
        self._asked: set[str] = set()

    def addresses(self, hosts: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """What is known of *hosts* now; a host that never resolved is missing."""
        return {host: self._known[host] for host in sorted(hosts) if host in self._known}

    def fresh(self, hosts: Iterable[str]) -> list[str]:
        """Those that were never asked for."""
        return [host for host in hosts if host not in self._asked]

    async def refresh(self, hosts: Iterable[str]) -> None:
        """Ask for all *hosts* at once; ends within the timeout."""
        wanted = tuple(hosts)
        self._asked.update(wanted)
        for host, addresses in zip(wanted, await asyncio.gather(*map(self._lookup, wanted)), strict=True):
            if addresses:
                self._known[host] = addresses

    async def _lookup(self, host: str) -> tuple[str, ...]:
        try:
            async with asyncio.timeout(self._timeout_s):
                infos = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except (OSError, TimeoutError, UnicodeError):
            return ()
        return choose((int(family), str(address[0])) for family, _, _, _, address in infos)
