"""Sizes and durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.model.units import read_bytes, read_seconds, written_bytes, written_seconds


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1), ("1048576", 1 << 20), ("64MiB", 64 << 20), ("64Mi", 64 << 20), ("64mib", 64 << 20),
        ("10 MB", 10**7), ("2k", 2000), ("1GiB", 1 << 30), ("1.5Mi", 3 << 19), ("512B", 512), ("1T", 10**12),
    ],
)  # fmt: skip
def test_sizes(text: str, count: int) -> None:
    assert read_bytes(text) == count


@pytest.mark.parametrize("text", ["", "big", "-1", "MiB", "1 2", "1e3", "64Mb5", "٣"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is no size such as 64MiB"):
        read_bytes(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2s", 2.0), ("500ms", 0.5), ("5m", 300.0), ("1m30s", 90.0), ("0.5s", 0.5), ("30", 30.0),
        ("1.5", 1.5), ("1h", 3600.0), ("0", 0.0), ("0s", 0.0), ("250us", 0.00025), (".5s", 0.5), (" 2S ", 2.0),
    ],
)  # fmt: skip
def test_durations(text: str, expected: float) -> None:
    assert read_seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "soon", "s", "-1s", "1m 30s", "5 minutes", "1d", "inf", "nan", "1s2"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration such as 2s"):
        read_seconds(text)


@given(st.integers(1, 1 << 50))
def test_sizes_are_written_as_they_are_read(size: int) -> None:
    assert read_bytes(written_bytes(size)) == size


@given(st.integers(0, 10**6))
def test_durations_are_written_as_they_are_read(milliseconds: int) -> None:
    seconds = milliseconds / 1000 if milliseconds < 1000 else float(milliseconds // 1000)
    assert read_seconds(written_seconds(seconds)) == pytest.approx(seconds)


@given(st.text(max_size=20))
def test_other_texts_are_told(text: str) -> None:
    for read in (read_bytes, read_seconds):
        try:
            assert read(text) >= 0
        except ValueError as error:
            assert repr(text) in str(error)
