"""Addresses that a Gateway asks for: a Service has one of each family, given or asked for."""

import ipaddress
from collections.abc import Iterable

import msgspec

from headgate.model.objects import Gateway


class Refused(msgspec.Struct, frozen=True):
    """Why a Gateway gets no Service with the addresses that it asks for."""

    accepted: bool
    """False: the Gateway itself is not accepted."""
    reason: str
    message: str


def asked(gateway: Gateway) -> tuple[str, ...]:
    """IP addresses that it asks for, in order."""
    return tuple(each.value for each in gateway.spec.addresses if each.type == "IPAddress" and each.value)


def refused(gateway: Gateway) -> Refused | None:
    """Why they cannot be had, whoever gives addresses; None: they may be."""
    for each in gateway.spec.addresses:
        if each.type != "IPAddress":
            message = f"addresses of type {each.type} cannot be asked for: write type: IPAddress"
            return Refused(False, "UnsupportedAddress", message)
    families: set[int] = set()
    for value in asked(gateway):
        family = ipaddress.ip_address(value).version  # the API server and our reader refuse other text
        if family in families:
            message = "a Service has one address of a family, and the Gateway asks for more"
            return Refused(True, "AddressNotUsable", message)
        families.add(family)
    return None


def missing(wanted: Iterable[str], given: Iterable[str]) -> Refused | None:
    """That not every address that is asked for was given."""
    there = set(given)
    lacking = [each for each in wanted if each not in there]
    if not lacking:
        return None
    message = f"its Service did not get {', '.join(lacking)} but {', '.join(sorted(there)) or 'none'}"
    return Refused(True, "AddressNotUsable", message)
