"""Host name intersection and bound ports."""

import pytest

from headgate.gateway.attach import bound_ports, intersection
from headgate.gateway.settings import GatewaySettings


@pytest.mark.parametrize(
    ("listener", "route", "expected"),
    [
        ("*", (), ("*",)),
        ("*", ("a.b",), ("a.b",)),
        ("a.b", (), ("a.b",)),
        ("a.b", ("a.b", "c.b"), ("a.b",)),
        ("*.b", ("a.b", "x.a.b", "b", "*.a.b"), ("*.a.b", "a.b", "x.a.b")),
        ("a.b", ("*.b",), ("a.b",)),
        ("*.b", ("*.c",), ()),
        ("b", ("*.b",), ()),
    ],
)
def test_intersection(listener: str, route: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert intersection(listener, route) == expected


@pytest.mark.parametrize(
    ("declared", "mapped", "expected"),
    [
        ({80}, {}, {80: 8080}),
        ({80, 81}, {}, {80: 8080, 81: 81}),
        ({9000, 9001}, {9001: 1}, {9000: 8080, 9001: 1}),
        ({80}, {80: 3}, {80: 3}),
        (set(), {}, {}),
    ],
)
def test_the_primary_port_is_80_or_the_lowest(
    declared: set[int], mapped: dict[int, int], expected: dict[int, int]
) -> None:
    assert bound_ports(declared, GatewaySettings(port_map=mapped)) == expected
