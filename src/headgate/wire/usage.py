"""Token usage from an answer's bytes, plain JSON or server-sent events, in any chunking, with bounded memory.

Engines write `usage` last: at the end of a plain answer, or in the last event of a stream. Anthropic's
streams say at their beginning what the prompt was. So only the beginning and a tail of the bytes are kept,
and they are read once, when the answer ends.
"""

import re
from collections import deque
from typing import Annotated

import msgspec

from headgate.model.requests import Usage

TAIL_BYTES = 16 * 1024
"""Bytes kept of the end: several times the longest `usage` object and what follows it."""
HEAD_BYTES = 4 * 1024
"""Bytes kept of the beginning."""
MOST_OBJECTS = 8
"""Usage objects that are looked at, from the last one on."""
MOST_TOKENS = 10**12
"""A count above this is no count of tokens."""

# A key, not a piece of text: within a JSON string the quotes would be escaped.
_KEY = re.compile(rb'(?<!\\)"usage"\s*:\s*\{')
_BRACE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}]', re.DOTALL)

_Count = Annotated[int, msgspec.Meta(ge=0, lt=MOST_TOKENS)] | None


class _Details(msgspec.Struct):
    cached_tokens: _Count = None


class _Usage(msgspec.Struct):
    """By the names of chat completions, of Responses and of Anthropic Messages."""

    prompt_tokens: _Count = None
    completion_tokens: _Count = None
    prompt_tokens_details: _Details | None = None
    input_tokens: _Count = None
    output_tokens: _Count = None
    input_tokens_details: _Details | None = None
    cache_read_input_tokens: _Count = None
    cache_creation_input_tokens: _Count = None

    def cached(self) -> int | None:
        """Prompt tokens that were in the engine's cache."""
        for details in (self.prompt_tokens_details, self.input_tokens_details):
            if details is not None and details.cached_tokens is not None:
                return details.cached_tokens
        return self.cache_read_input_tokens

    def prompt(self) -> int | None:
        """Prompt tokens in all: Anthropic's input tokens are those besides the cache."""
        if self.prompt_tokens is not None or self.input_tokens is None:
            return self.prompt_tokens
        return (
            self.input_tokens + (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)
        )


_DECODER = msgspec.json.Decoder(_Usage)


def _object_at(text: bytes, start: int) -> bytes | None:
    depth = 0
    for token in _BRACE.finditer(text, start):
        mark = token.group()
        depth += (mark == b"{") - (mark == b"}")
        if not depth:
            return text[start : token.end()]
    return None


def find_usage(text: bytes) -> Usage | None:
    """What the complete `usage` objects in *text* say, the later ones first; None: nothing of the prompt."""
    completion: int | None = None
    cached: int | None = None
    for match in reversed(list(_KEY.finditer(text))[-MOST_OBJECTS:]):
        found_text = _object_at(text, match.end() - 1)
        if found_text is None:
            continue
        try:
            found = _DECODER.decode(found_text)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        if completion is None:
            completion = found.output_tokens if found.completion_tokens is None else found.completion_tokens
        if cached is None:
            cached = found.cached()
        prompt = found.prompt()
        if prompt is not None:
            return Usage(prompt, completion or 0, cached)
    return None


class UsageReader:
    """Takes an answer's chunks as they pass; the answer's usage at its end."""

    __slots__ = ("_chunks", "_head", "_size", "_total")

    def __init__(self) -> None:
        self._head = b""
        self._total = 0
        self._chunks: deque[bytes] = deque()
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Remembers the first `HEAD_BYTES`, the last `TAIL_BYTES` and at most one chunk more."""
        if len(self._head) < HEAD_BYTES:
            self._head += chunk[: HEAD_BYTES - len(self._head)]
        self._total += len(chunk)
        if len(chunk) > TAIL_BYTES:
            chunk = chunk[-TAIL_BYTES:]
        self._chunks.append(chunk)
        self._size += len(chunk)
        while self._size - len(self._chunks[0]) >= TAIL_BYTES:
            self._size -= len(self._chunks.popleft())

    def usage(self) -> Usage | None:
        """What the bytes so far say."""
        tail = b"".join(self._chunks)[-TAIL_BYTES:]
        return find_usage(tail if self._total <= TAIL_BYTES else self._head + b"\n" + tail)
