"""Which host names two sides both take, and which names take a host."""

import pytest

from headgate.gateway.plan.hostnames import intersection, wider_names


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
    ("hostname", "expected"),
    [
        ("*", ["*"]),
        ("a.b.c", ["a.b.c", "*.b.c", "*.c", "*"]),
        ("*.b.c", ["*.b.c", "*.c", "*"]),
        ("localhost", ["localhost", "*"]),
    ],
)
def test_wider_names(hostname: str, expected: list[str]) -> None:
    assert wider_names(hostname) == expected
