"""Block hashes chain: prefixes agree, and nothing after a difference does."""

from headgate.model.requests import BLOCK_BYTES
from headgate.wire.blocks import HORIZON_BLOCKS, chain


def test_only_whole_blocks_have_a_hash() -> None:
    assert chain(b"x" * (BLOCK_BYTES - 1), "m") == ()
    assert len(chain(b"x" * (3 * BLOCK_BYTES + 1), "m")) == 3


def test_equal_prefixes_agree_and_a_difference_goes_on() -> None:
    a = chain(b"a" * BLOCK_BYTES + b"b" * BLOCK_BYTES + b"c" * BLOCK_BYTES, "m")
    b = chain(b"a" * BLOCK_BYTES + b"X" * BLOCK_BYTES + b"c" * BLOCK_BYTES, "m")
    assert a[0] == b[0]
    assert a[1] != b[1]
    assert a[2] != b[2]


def test_models_do_not_share_hashes() -> None:
    assert chain(b"a" * BLOCK_BYTES, "m") != chain(b"a" * BLOCK_BYTES, "n")


def test_the_horizon_bounds_the_work() -> None:
    assert len(chain(b"a" * (BLOCK_BYTES * (HORIZON_BLOCKS + 9)), "m")) == HORIZON_BLOCKS


def test_equal_blocks_have_different_hashes_by_position() -> None:
    hashes = chain(b"a" * (BLOCK_BYTES * 4), "m")
    assert len(set(hashes)) == 4
    assert all(0 <= each < 2**64 for each in hashes)
