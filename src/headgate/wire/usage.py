"""Token usage from an answer's bytes, plain JSON or server-sent events, in any chunking, with bounded memory.

Engines write `usage` last: at the end of a plain answer, or in the last event of a stream. So only a tail of
the bytes is kept, and it is read once, when the answer ends.
"""

import re
from collections import deque

import msgspec

from headgate.model.requests import Usage

TAIL_BYTES = 16 * 1024
"""Bytes kept: several times the longest `usage` object and what follows it."""

# A key, not a piece of text: within a JSON string the quotes would be escaped.
_KEY = re.compile(rb'(?<!\\)"usage"\s*:\s*\{')
_BRACE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}]', re.DOTALL)


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None


_DECODER = msgspec.json.Decoder(_Usage)


def _object_at(text: bytes, start: int) -> bytes | None:
    depth = 0
    for token in _BRACE.finditer(text, start):
        mark = token.group()
        depth += (mark == b"{") - (mark == b"}")
        if not depth:
            return text[start : token.end()]
    return None


def find_usage(tail: bytes) -> Usage | None:
    """The last complete `usage` object in *tail*; None when there is none."""
    for match in reversed(list(_KEY.finditer(tail))):
        text = _object_at(tail, match.end() - 1)
        if text is None:
            continue
        try:
            found = _DECODER.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        cached = found.prompt_tokens_details.cached_tokens if found.prompt_tokens_details else None
        return Usage(found.prompt_tokens, found.completion_tokens, cached)
    return None


class UsageReader:
    """Takes an answer's chunks as they pass; the answer's usage at its end."""

    __slots__ = ("_chunks", "_size")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Remembers the last `TAIL_BYTES` and at most one chunk more."""
        if len(chunk) > TAIL_BYTES:
            chunk = chunk[-TAIL_BYTES:]
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= TAIL_BYTES:
            self._size -= len(self._chunks.popleft())

    def usage(self) -> Usage | None:
        """What the bytes so far say."""
        return find_usage(b"".join(self._chunks)[-TAIL_BYTES:])
