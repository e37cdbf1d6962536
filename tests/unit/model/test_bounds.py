"""The bound is in bytes, whatever the characters."""

import pytest

from headgate.model.bounds import fits


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("", 0, True),
        ("abc", 3, True),
        ("abcd", 3, False),
        ("äß", 4, True),
        ("äß", 3, False),
        ("\ud800", 10, False),
    ],
)
def test_bytes_are_counted(text: str, most: int, expected: bool) -> None:
    assert fits(text, most) is expected
