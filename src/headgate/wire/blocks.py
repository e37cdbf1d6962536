"""Prompt bytes → chained block hashes: equal prefixes give equal hashes, whatever follows."""

import struct

import xxhash

from headgate.model.requests import BLOCK_BYTES

HORIZON_BLOCKS = 4096
"""Blocks hashed at most (512 KiB of prompt): what lies behind says little more about where it is cached."""


def chain(prompt: bytes, model: str) -> bytes:
    """Hashes of the prompt's whole blocks: `h[i] = xxh3_64(block[i], seed=h[i-1])`, `h[-1] = xxh3_64(model)`.

    8 bytes each, little-endian. The model (or adapter) seeds the chain because KV caches are not shared
    between models. A last block that is not full has no hash: it may still grow.
    """
    digest = xxhash.xxh3_64_intdigest
    link = digest(model.encode())
    hashes: list[int] = []
    for start in range(0, min(len(prompt) // BLOCK_BYTES, HORIZON_BLOCKS) * BLOCK_BYTES, BLOCK_BYTES):
        link = digest(prompt[start : start + BLOCK_BYTES], link)
        hashes.append(link)
    return struct.pack(f"<{len(hashes)}Q", *hashes)
