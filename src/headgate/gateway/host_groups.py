"""Hosts in groups, by a number that Envoy works out of a request's host too.

A table with many hosts is cut into a route configuration for each group, so that a change of a route costs
Envoy the hosts of a group and not all of them. Envoy takes the group's number for the key of a scope, and
knows no default scope: every host must have a number, one that nobody has heard of too. So the number is a
function of the name alone, made of what an expression (CEL) of Envoy's can do with a text quickly: which
characters stand in it, whatever their case. Wildcards stand in all groups.
"""

from collections.abc import Mapping

GROUPS = 256
"""Five thousand hosts of the usual kinds make groups of 20 to 50; names of one length in hexadecimal, 150."""

WEIGHTS: Mapping[str, int] = {
    **dict(zip("0123456789", (1, 2, 4, 8, 16, 32, 64, 128, 37, 91), strict=True)),
    **dict(zip("bdghmpuw", (128, 64, 32, 16, 8, 4, 2, 1), strict=True)),
}
"""What a character that stands in the name, once or more often, adds to its number."""


def group_of(host: str) -> int:
    """The group of an exact host name, without a port."""
    return sum(WEIGHTS.get(each, 0) for each in set(host.lower())) % GROUPS


def is_exact(host: str) -> bool:
    """False for a wildcard, and for `*`."""
    return not host.startswith("*")
