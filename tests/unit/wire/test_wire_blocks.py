"""Block hashes chain: prefixes agree, and nothing after a difference does."""

import struct

import pytest
import xxhash

from headgate.model.requests import BLOCK_BYTES
from headgate.wire.blocks import HORIZON_BLOCKS, chain, of_model


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
    link = xxhash.xxh3_64_intdigest(b"salt")
    hashes = []
    for block in (b"a" * BLOCK_BYTES, b"b" * BLOCK_BYTES):
        link = xxhash.xxh3_64_intdigest(block, link)
        hashes.append(link ^ xxhash.xxh3_64_intdigest(b"m"))
    assert chain(b"a" * BLOCK_BYTES + b"b" * BLOCK_BYTES, "m", "salt") == struct.pack("<2Q", *hashes)


def test_salts_do_not_share_hashes() -> None:
    prompt = b"a" * BLOCK_BYTES
    assert len({chain(prompt, "m"), chain(prompt, "m", "s"), chain(prompt, "m", "t")}) == 3


@pytest.mark.parametrize("asked", ["alias", None, "target"])
def test_blocks_of_an_alias_become_those_of_the_target(asked: str | None) -> None:
    prompt = bytes(range(256)) * 4
    assert of_model(chain(prompt, asked, "s"), asked, "target") == chain(prompt, "target", "s")
    assert of_model(b"", asked, "target") == b""
