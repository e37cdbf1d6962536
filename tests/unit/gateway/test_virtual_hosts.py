"""Which names take a host, narrowest first."""

import pytest

from headgate.gateway.virtual_hosts import wider_names


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
