"""Prompts to tokens, and answers out of pseudo-words.

Every message is tokenised by itself between marker tokens, so a conversation that grows by an answer and a
question has the tokens of the earlier prompt and of the engine's own answer as its prefix.
"""

import hashlib
import math
from collections.abc import Sequence
from statistics import NormalDist

from headgate.sim.tokens import TOKEN_BYTES, tokenize

_CONSONANTS, _VOWELS = "bdfghklmnprstvz", "aeiou"
_SYLLABLES = [a + v + b for a in _CONSONANTS for v in _VOWELS for b in _CONSONANTS]
WORDS = (
    [f" {_SYLLABLES[i * 11 % len(_SYLLABLES)]}" for i in range(192)]
    + [
        f"{_SYLLABLES[i * 17 % len(_SYLLABLES)][:2]}{_SYLLABLES[i * 29 % len(_SYLLABLES)][:2]}"
        for i in range(56)
    ]
    + [f" {_SYLLABLES[i * 7 % len(_SYLLABLES)][:2]}." for i in range(8)]
)
"""256 tokens of four letters: word beginnings, continuations, sentence ends."""

SIGMA = 0.86
"""Spread of answer lengths (of their logarithm), from a public conversation trace."""


def chat_tokens(messages: Sequence[tuple[str, str]]) -> bytes:
    """The prompt tokens of (role, text) messages, ending where the assistant begins to speak."""
    parts: list[bytes] = []
    for role, text in messages:
        parts += (_marker(role), tokenize(text.encode()), b"\0end")
    parts.append(_marker("assistant"))
    return b"".join(parts)


def text_tokens(text: str) -> bytes:
    """The prompt tokens of plain text; an empty prompt still has one."""
    return tokenize(text.encode()) or b"\0bos"


def id_tokens(ids: Sequence[int]) -> bytes:
    """The prompt tokens of a prompt given as token ids."""
    return b"".join((token & 0xFFFFFFFF).to_bytes(TOKEN_BYTES, "little") for token in ids)


def _marker(role: str) -> bytes:
    return b"\0" + hashlib.blake2b(role.encode(), digest_size=TOKEN_BYTES - 1).digest()


def answer_length(key: bytes, median: float) -> int:
    """How many tokens an answer has when nothing cuts it short: lognormal, the same for the same *key*."""
    draw = int.from_bytes(hashlib.blake2b(key, digest_size=6).digest(), "little")
    normal = NormalDist().inv_cdf((draw + 0.5) / 2**48)
    return max(1, round(median * math.exp(SIGMA * normal)))


def answer_text(key: bytes, tokens: int) -> str:
    """*tokens* tokens of text, `TOKEN_BYTES` letters each; the same for the same *key*."""
    return "".join([WORDS[byte] for byte in hashlib.shake_128(key).digest(tokens)])
