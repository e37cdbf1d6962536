"""Keys of streams: read back by who made them, and by nobody else."""

import hypothesis
from hypothesis import strategies as st

from headgate.wire.stream_key import StreamKeys

NUMBERS = st.integers(min_value=0, max_value=2**59)
KEYS = StreamKeys("n", b"secret")


@hypothesis.given(NUMBERS, NUMBERS)
def test_a_key_is_good_for_its_own_stream_only(number: int, other: int) -> None:
    key = KEYS.key(number)
    assert KEYS.number(key) == number
    seal = key.rpartition("-")[2]
    forged = f"n-{other}-{seal}"
    assert KEYS.number(forged) == (number if other == number else None)


@hypothesis.given(NUMBERS, st.text(), st.binary())
def test_keys_of_other_processes_and_other_text_mean_nothing(number: int, text: str, secret: bytes) -> None:
    hypothesis.assume(secret != b"secret")
    assert KEYS.number(StreamKeys("n", secret).key(number)) is None
    assert KEYS.number(StreamKeys("m", b"secret").key(number)) is None
    assert KEYS.number(KEYS.name(number)) is None
    assert KEYS.number(text) is None


def test_what_people_are_shown_has_no_seal() -> None:
    assert KEYS.name(7) == "n-7"
    assert KEYS.key(7).startswith("n-7-")
