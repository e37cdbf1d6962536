"""The native prefix index says exactly what the Python one says."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.blocks import packed

from headgate.scheduling.prefix import PrefixIndex

native = pytest.importorskip("headgate_native")

_SLOTS = st.integers(0, 3)
_BLOCKS = st.lists(st.integers(0, 12).map(lambda block: block * 0x0123_4567_89AB_CDEF), max_size=8).map(
    lambda blocks: packed(*blocks)
)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("open"), _SLOTS, st.integers(1, 9)),
        st.tuples(st.just("add"), _SLOTS, _BLOCKS),
        st.tuples(st.sampled_from(["expect", "confirm", "withdraw"]), _SLOTS, _BLOCKS),
        st.tuples(st.sampled_from(["expect", "confirm", "withdraw"]), _SLOTS, _BLOCKS),
        st.tuples(st.just("clear"), _SLOTS),
        st.tuples(st.just("remove"), _SLOTS),
    ),
    max_size=40,
)


def _same(ours: PrefixIndex, theirs: Any, asked: bytes) -> None:
    theirs.check()
    assert theirs.match(asked) == ours.match(asked)
    for slot in range(5):
        assert theirs.blocks(slot) == ours.blocks(slot)
        assert theirs.capacity(slot) == ours.capacity(slot)
        assert theirs.fill(slot) == ours.fill(slot)
        assert theirs.expected(slot) == ours.expected(slot)


@given(_STEPS, _BLOCKS)
def test_both_indexes_agree_after_every_step(steps: list[tuple[Any, ...]], asked: bytes) -> None:
    ours, theirs = PrefixIndex(), native.PrefixIndex()
    for verb, *arguments in steps:
        for index in (ours, theirs):
            call: Callable[..., None] = getattr(index, verb)
            call(*arguments)
        _same(ours, theirs, asked)
        ours.check()
    copy = native.PrefixIndex()
    copy.restore(theirs.snapshot())
    again = native.PrefixIndex()
    again.restore(copy.snapshot())
    assert again.match(asked) == copy.match(asked)
    for slot in range(4):
        assert copy.blocks(slot) <= theirs.blocks(slot)
        if not theirs.expected(slot):
            assert copy.match(asked).get(slot) == theirs.match(asked).get(slot)


def test_reported_blocks_come_and_go() -> None:
    index = native.PrefixIndex()
    index.open(1, 10)
    index.add(1, packed(5))
    index.stored(1, packed(5, 6, 7))
    assert (index.match(packed(5, 6, 7, 8)), index.reported(1)) == ({1: 3}, 3)
    index.dropped(1, packed(6, 99))
    assert (index.match(packed(5, 6, 7)), index.blocks(1)) == ({1: 1}, 2)
    index.expect(1, packed(5, 6))
    index.dropped(1, packed(5))
    assert (index.match(packed(5, 6, 7)), index.blocks(1)) == ({1: 3}, 3)
    index.check()
    index.stored(9, packed(1))
    assert index.match(packed(1)) == {}


@pytest.mark.parametrize("data", [b"", b"HGPREF01" + b"\xff" * 30, b"HGPREF01\x00"])
def test_a_broken_snapshot_is_refused_and_changes_nothing(data: bytes) -> None:
    index = native.PrefixIndex()
    index.open(0, 4)
    index.add(0, packed(1, 2))
    with pytest.raises(ValueError, match="snapshot"):
        index.restore(data)
    assert index.match(packed(1, 2)) == {0: 2}


@pytest.mark.parametrize("verb", ["add", "expect", "confirm", "withdraw", "match", "stored", "dropped"])
def test_half_a_hash_is_refused(verb: str) -> None:
    index = native.PrefixIndex()
    index.open(0, 4)
    slot = () if verb == "match" else (0,)
    with pytest.raises(ValueError, match="whole number"):
        getattr(index, verb)(*slot, packed(1) + b"half")
    assert index.blocks(0) == 0
