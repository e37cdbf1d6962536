"""Prompt bytes → chained block hashes: equal prefixes give equal hashes, whatever follows."""

import struct
from functools import lru_cache

import xxhash

from headgate.model.requests import BLOCK_BYTES

HORIZON_BLOCKS = 4096
"""Blocks hashed at most (512 KiB of prompt): what lies behind says little more about where it is cached."""


@lru_cache(maxsize=1024)
def model_mask(model: str | None) -> int:
    """64 bits that set a model's blocks apart, since KV caches are not shared between models; None: 0."""
    return 0 if model is None else xxhash.xxh3_64_intdigest(model.encode())


def chain(prompt: bytes, model: str | None, salt: str = "") -> bytes:
    """Hashes of the prompt's whole blocks: `h[i] = xxh3_64(block[i], seed=h[i-1])`, `h[-1] = xxh3_64(salt)`.

    Each stands as `h[i] ^ model_mask(model)`, so that the blocks of one model can be made those of another.
    8 bytes each, little-endian. A last block that is not full has no hash: it may still grow.
    """
    digest = xxhash.xxh3_64_intdigest
    link, mask = digest(salt.encode()), model_mask(model)
    hashes: list[int] = []
    for start in range(0, min(len(prompt) // BLOCK_BYTES, HORIZON_BLOCKS) * BLOCK_BYTES, BLOCK_BYTES):
        link = digest(prompt[start : start + BLOCK_BYTES], link)
        hashes.append(link ^ mask)
    return struct.pack(f"<{len(hashes)}Q", *hashes)


def of_model(blocks: bytes, asked: str | None, served: str | None) -> bytes:
    """Blocks of a prompt that was read for the model *asked*, as those of the model *served*."""
    mask = (model_mask(asked) ^ model_mask(served)).to_bytes(8, "little") * (len(blocks) // 8)
    return (int.from_bytes(blocks, "little") ^ int.from_bytes(mask, "little")).to_bytes(len(blocks), "little")
