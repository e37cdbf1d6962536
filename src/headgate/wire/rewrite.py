"""The top-level `model` value in request and response bodies; every other byte stays as it is."""

import re
from collections.abc import Iterator

import msgspec

HOLD_BYTES = 1024 * 1024
"""An answer is held back at most this long while its model is looked for; then it passes unchanged."""

_TOKEN = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)|[{}\[\]]', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+("?)', re.DOTALL)
_COLON = re.compile(rb"[ \t\r\n]*+(:?)[ \t\r\n]*+")


def _is_model(key: bytes) -> bool:
    if key == b'"model"':
        return True
    if b"\\" not in key:
        return False
    try:
        return bool(msgspec.json.decode(key) == "model")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False


class _Scan:
    """Walks one JSON text that may still grow; remembers where it stood."""

    __slots__ = ("depth", "position")

    def __init__(self) -> None:
        self.position = 0
        self.depth = 0

    def spans(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Spans of the string values (quotes included) of top-level `model` keys.

        Stops before a token that *text* does not hold whole; a later call with a longer text goes on there.
        """
        while token := _TOKEN.search(text, self.position):
            start, mark = token.start(), text[token.start()]
            if mark != 0x22:
                self.position = token.end()
                self.depth += 1 if mark in b"{[" else -1
                continue
            if not token.group(1):
                self.position = start
                return
            if self.depth != 1:
                self.position = token.end()
                continue
            colon = _COLON.match(text, token.end())
            assert colon is not None
            if colon.end() == len(text):
                self.position = start
                return
            if not colon.group(1) or not _is_model(token.group()):
                self.position = colon.end()
                continue
            value = _STRING.match(text, colon.end())
            if value is None:
                self.position = colon.end()
                continue
            if not value.group(1):
                self.position = start
                return
            self.position = value.end()
            yield value.start(), value.end()


def replace_model(body: bytes, name: str) -> bytes:
    """*body* with *name* as the value of every top-level `model` key that holds a string.

    Every one, should the key stand twice: parsers differ in which one they believe.
    """
    value = msgspec.json.encode(name)
    parts: list[bytes] = []
    done = 0
    for start, end in _Scan().spans(body):
        parts += (body[done:start], value)
        done = end
    return b"".join((*parts, body[done:])) if parts else body


class JsonRestorer:
    """Puts *name* into a plain JSON answer that comes in chunks."""

    __slots__ = ("_held", "_name", "_passing", "_scan")

    def __init__(self, name: str) -> None:
        self._name = msgspec.json.encode(name)
        self._held = b""
        self._scan = _Scan()
        self._passing = False

    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now: nothing until the model is found, then everything."""
        if self._passing:
            return chunk
        self._held += chunk
        for start, end in self._scan.spans(self._held):
            self._passing = True
            held, self._held = self._held, b""
            return held[:start] + self._name + held[end:]
        if len(self._held) > HOLD_BYTES:
            self._passing = True
            return self.finish()
        return b""

    def finish(self) -> bytes:
        """What was held when the answer ended."""
        held, self._held = self._held, b""
        return held


class SseRestorer:
    """Puts *name* into every `data:` line of an event stream that comes in chunks."""

    __slots__ = ("_held", "_name", "_overlong")

    def __init__(self, name: str) -> None:
        self._name = name
        self._held = b""
        self._overlong = False

    def feed(self, chunk: bytes) -> bytes:
        """The whole lines so far; an unfinished line waits for its end, or passes when it gets too long."""
        lines = (self._held + chunk).split(b"\n")
        self._held = lines.pop()
        parts = [self._line(line) + b"\n" for line in lines]
        if len(self._held) > HOLD_BYTES:
            parts.append(self._held)
            self._held, self._overlong = b"", True
        return b"".join(parts)

    def _line(self, line: bytes) -> bytes:
        if self._overlong:
            self._overlong = False
            return line
        return replace_model(line, self._name) if line.startswith(b"data:") else line

    def finish(self) -> bytes:
        """The last line, when it had no end."""
        held, self._held = self._held, b""
        return self._line(held)


Restorer = JsonRestorer | SseRestorer


def restorer(content_type: str, content_encoding: str, name: str) -> Restorer | None:
    """How to restore *name* in an answer of this kind; None when its bytes cannot be read."""
    if content_encoding.lower() not in ("", "identity"):
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "text/event-stream":
        return SseRestorer(name)
    return JsonRestorer(name) if kind == "application/json" or kind.endswith("+json") else None
