"""Addresses that no backend may have: the gateway's own, and those that only the machine itself should ask.

A route could publish them: an admin API that answers on loopback alone, a cloud's metadata service, its keys.
"""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

import msgspec

from headgate.model.store import Store

METADATA = frozenset(
    ip_address(each) for each in ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16")
)
"""Metadata services of clouds that are not link-local: AWS and Google Cloud by IPv6, Alibaba Cloud, Azure."""

_TRANSLATED = IPv6Network("64:ff9b::/96")
"""IPv4 addresses as IPv6 hosts write them (RFC 6052)."""


class Own(msgspec.Struct, frozen=True):
    """Where this gateway listens itself."""

    ports: frozenset[int] = frozenset()
    """Empty where nothing is served, as in a check."""
    addresses: frozenset[str] = frozenset()
    """Addresses of this machine; loopback ones need not be named."""


OWN_PORT = "a port of this gateway itself is no backend"


def refused(world: Store, ip: str, port: int) -> str | None:
    """Why a backend must not be at *ip*, *port* of a store's gateway, listeners included; None: it may.

    Only for addresses of this machine it depends on which listeners there are.
    """
    told = world.entry("settings", "own")
    own = told if isinstance(told, Own) else Own()
    address = _bare(ip)
    if address is None:
        return None
    if own.ports and _is_here(address, own) and port in (world.entry("settings", "bound_ports") or ()):
        return OWN_PORT
    return _refusal(address, port, own)


def refusal(ip: str, port: int, own: Own) -> str | None:
    """Why a backend must not be at *ip*, *port*; None: it may. Text that is no address is not looked at."""
    address = _bare(ip)
    return None if address is None else _refusal(address, port, own)


def _refusal(address: IPv4Address | IPv6Address, port: int, own: Own) -> str | None:
    if address.is_link_local:
        return "a link-local address, where clouds have their metadata services, is no backend"
    if address in METADATA:
        return "a cloud's metadata service is no backend"
    return OWN_PORT if _is_here(address, own) and port in own.ports else None


def _is_here(address: IPv4Address | IPv6Address, own: Own) -> bool:
    return address.is_loopback or address.is_unspecified or str(address) in own.addresses


def _bare(ip: str) -> IPv4Address | IPv6Address | None:
    """The address without zone, and as IPv4 where it leads there; None: it is none."""
    try:
        address = ip_address(ip.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
