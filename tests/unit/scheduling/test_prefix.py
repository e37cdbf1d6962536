"""The prefix index, by example; against a plain model see tests/property."""

import pytest
from tests.blocks import packed

from headgate.scheduling.prefix import DEFAULT_KV_TOKENS, PrefixIndex, capacity_blocks


def an_index(**capacity: int) -> PrefixIndex:
    index = PrefixIndex()
    for name, blocks in capacity.items():
        index.open(int(name[1:]), blocks)
    return index


def test_the_longest_leading_run_per_endpoint() -> None:
    index = an_index(s0=10, s1=10, s2=10)
    index.add(0, packed(1, 2, 3, 4))
    index.add(1, packed(1, 2, 9))
    assert index.match(packed(1, 2, 3, 4, 5)) == {0: 4, 1: 2}
    assert index.match(packed(7, 1, 2)) == {}
    assert index.match(packed()) == {}


def test_eviction_shortens_the_least_recent_prompt_from_its_end() -> None:
    index = an_index(s0=5)
    index.add(0, packed(1, 2, 3))
    index.add(0, packed(11, 12, 13))
    assert index.match(packed(1, 2, 3)) == {0: 2}
    assert index.match(packed(11, 12, 13)) == {0: 3}
    assert index.fill(0) == 1.0
    index.add(0, packed(1, 2))
    index.add(0, packed(21, 22))
    assert index.match(packed(1, 2)) == {0: 2}
    assert index.match(packed(11, 12, 13)) == {0: 1}
    index.check()


def test_a_prompt_longer_than_the_cache_keeps_its_head() -> None:
    index = an_index(s0=3)
    index.add(0, packed(1, 2, 3, 4, 5))
    assert index.match(packed(1, 2, 3, 4, 5)) == {0: 3}


def test_clear_and_remove_leave_nothing_of_the_endpoint() -> None:
    index = an_index(s0=9, s1=9)
    index.add(0, packed(1, 2))
    index.add(1, packed(1, 2))
    index.clear(0)
    assert index.match(packed(1, 2)) == {1: 2}
    assert (index.blocks(0), index.fill(0), index.capacity(0)) == (0, 0.0, 9)
    index.remove(1)
    index.add(1, packed(1, 2))
    assert index.match(packed(1, 2)) == {}
    assert index.capacity(1) == 0
    index.check()


def test_capacity_follows_the_engines_cache() -> None:
    assert capacity_blocks(DEFAULT_KV_TOKENS) == 15_625
    assert capacity_blocks(8) == 1
    index = an_index(s0=9)
    index.add(0, packed(*range(1, 9)))
    index.open(0, 4)
    assert index.match(packed(*range(1, 9))) == {0: 4}
    index.check()


@pytest.mark.parametrize("blocks", [b"1234567", packed(1) + b"\0"])
def test_half_a_hash_is_refused(blocks: bytes) -> None:
    index = an_index(s0=9)
    for call in (lambda: index.add(0, blocks), lambda: index.match(blocks)):
        with pytest.raises(ValueError, match="whole number"):
            call()
    assert index.blocks(0) == 0
