"""Block hashes chain: prefixes agree, and nothing after a difference does."""

import struct

import xxhash

from headgate.model.requests import BLOCK_BYTES
from headgate.wire.blocks import HORIZON_BLOCKS, chain


def test_only_whole_blocks_have_a_hash() -> None:
    assert chain(b"x" * (BLOCK_BYTES - 1), "m") == b""
    assert len(chain(b"x" * (3 * BLOCK_BYTES + 1), "m")) == 3 * 8


def test_equal_prefixes_agree_and_a_difference_goes_on() -> None:
    a = chain(b"a" * BLOCK_BYTES + b"b" * BLOCK_BYTES + b"c" * BLOCK_BYTES, "m")
    b = chain(b"a" * BLOCK_BYTES + b"X" * BLOCK_BYTES + b"c" * BLOCK_BYTES, "m")
    assert a[:8] == b[:8]
    assert a[8:16] != b[8:16]
    assert a[16:] != b[16:]


def test_models_do_not_share_hashes() -> None:
    assert chain(b"a" * BLOCK_BYTES, "m") != chain(b"a" * BLOCK_BYTES, "n")


def test_the_horizon_bounds_the_work() -> None:
    assert len(chain(b"a" * (BLOCK_BYTES * (HORIZON_BLOCKS + 9)), "m")) == HORIZON_BLOCKS * 8


def test_equal_blocks_have_different_hashes_by_position() -> None:
    hashes = struct.unpack("<4Q", chain(b"a" * (BLOCK_BYTES * 4), "m"))
    assert len(set(hashes)) == 4


def test_hashes_are_little_endian_and_seed_each_other() -> None:
    model = xxhash.xxh3_64_intdigest(b"m")
    first = xxhash.xxh3_64_intdigest(b"a" * BLOCK_BYTES, model)
    assert chain(b"a" * BLOCK_BYTES, "m") == first.to_bytes(8, "little")
