"""Gateway API durations."""

import pytest

from headgate.model.durations import seconds


@pytest.mark.parametrize(
    ("text", "expected"), [("0s", 0), ("10s", 10), ("1h30m", 5400), ("500ms", 0.5), ("1m5s10ms", 65.01)]
)
def test_seconds(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)
