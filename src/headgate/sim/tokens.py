"""Tokens and prefix blocks of simulated engines.

A token is four bytes, so a prompt is a byte string four times as long as it has tokens: equal bytes are equal
tokens, without a vocabulary. A block's hash covers everything before it, as in vLLM's prefix cache.
"""

import xxhash

TOKEN_BYTES = 4


def tokenize(text: bytes) -> bytes:
    """The tokens of *text*: itself, filled up to whole tokens."""
    return text + b"\0" * (-len(text) % TOKEN_BYTES)


def count(tokens: bytes) -> int:
    """How many tokens these are."""
    return len(tokens) // TOKEN_BYTES


def chain_root(model: str, adapter: str | None) -> int:
    """Where a hash chain starts: different weights never share KV blocks."""
    return xxhash.xxh3_64_intdigest(f"{model}\0{adapter or ''}".encode())


def block_chain(tokens: bytes, root: int, block_tokens: int) -> tuple[int, ...]:
    """Chained 64-bit hashes of the whole blocks of *tokens*; a partial last block has none."""
    size = block_tokens * TOKEN_BYTES
    hashes: list[int] = []
    parent = root
    for start in range(0, len(tokens) - size + 1, size):
        parent = xxhash.xxh3_64_intdigest(tokens[start : start + size], parent)
        hashes.append(parent)
    return tuple(hashes)
