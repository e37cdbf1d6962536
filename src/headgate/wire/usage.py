"""Token usage from an answer's bytes, plain JSON or server-sent events, in any chunking, with bounded memory.

Engines write `usage` last: at the end of a plain answer, or in the last event of a stream. Anthropic's
streams say at their beginning what the prompt was. So only the beginning and a tail of the bytes are kept,
and they are read once, when the answer ends.
"""

import re
from collections import deque
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from headgate.model.requests import Usage
from headgate.wire.counts import Answers, Counts, Path

TAIL_BYTES = 16 * 1024
"""Bytes kept of the end: several times the longest `usage` object and what follows it."""
HEAD_BYTES = 4 * 1024
"""Bytes kept of the beginning."""
MOST_OBJECTS = 8
"""Usage objects that are looked at, from the last one on."""
MOST_TOKENS = 10**12
"""A count above this is no count of tokens."""

_BRACE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[{}]', re.DOTALL)

_Count = Annotated[int, msgspec.Meta(ge=0, lt=MOST_TOKENS)] | None


class Counter:
    """Executes a format's `Answers`: finds usage objects in bytes and reads their counts."""

    __slots__ = ("_decoder", "_key", "_ways")

    def __init__(self, answers: Answers) -> None:
        names = b"|".join(re.escape(name.encode()) for name in answers.usage)
        # A key, not a piece of text: within a JSON string the quotes would be escaped.
        self._key = re.compile(rb'(?<!\\)"(?:' + names + rb')"\s*:\s*\{')
        self._ways = answers.counts
        paths = {path for way in answers.counts for path in _paths(way)}
        inner: dict[str, set[str]] = {path[0]: set() for path in paths}
        for name, *rest in paths:
            inner[name].update(rest)
        fields = [
            (name, _struct("Details", [(each, _Count, None) for each in sorted(below)]) | None, None)
            if below
            else (name, _Count, None)
            for name, below in sorted(inner.items())
        ]
        self._decoder = msgspec.json.Decoder(_struct("Usage", fields))

    def find(self, text: bytes) -> Usage | None:
        """What the complete usage objects in *text* say, the later ones first.

        None: nothing of the prompt.
        """
        completion: int | None = None
        cached: int | None = None
        for match in reversed(list(self._key.finditer(text))[-MOST_OBJECTS:]):
            found_text = _object_at(text, match.end() - 1)
            if found_text is None:
                continue
            try:
                found = self._decoder.decode(found_text)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            if completion is None:
                completion = self._first(found, "completion")
            if cached is None:
                cached = self._first(found, "cached")
            prompt = self._prompt(found)
            if prompt is not None:
                return Usage(prompt, completion or 0, cached)
        return None

    def _first(self, found: object, what: str) -> int | None:
        for way in self._ways:
            if (count := _value(found, way[what])) is not None:
                return count
        return None

    def _prompt(self, found: object) -> int | None:
        """Prompt tokens in all."""
        for way in self._ways:
            if (count := _value(found, way["prompt"])) is not None:
                return count + sum(_value(found, (name,)) or 0 for name in way["beside"])
        return None


@lru_cache
def counter_of(answers: Answers) -> Counter:
    """The counter of these answers: the same one each time."""
    return Counter(answers)


def _struct(name: str, fields: Sequence[tuple[str, Any, Any]]) -> Any:
    return msgspec.defstruct(name, fields)


def _paths(way: Counts) -> list[Path]:
    named: list[Path] = [way["prompt"], way["completion"], way["cached"]]
    return [*(path for path in named if path), *((name,) for name in way["beside"])]


def _value(found: object, path: Path) -> int | None:
    for name in path:
        found = getattr(found, name, None)
    return found if isinstance(found, int) and path else None


def _object_at(text: bytes, start: int) -> bytes | None:
    depth = 0
    for token in _BRACE.finditer(text, start):
        mark = token.group()
        depth += (mark == b"{") - (mark == b"}")
        if not depth:
            return text[start : token.end()]
    return None


class UsageReader:
    """Takes an answer's chunks as they pass; the answer's usage at its end."""

    __slots__ = ("_chunks", "_counter", "_head", "_size", "_total")

    def __init__(self, counter: Counter) -> None:
        """*counter* is that of the format of the request."""
        self._counter = counter
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
        return self._counter.find(tail if self._total <= TAIL_BYTES else self._head + b"\n" + tail)
