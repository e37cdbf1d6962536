"""The `model` values in request and response bodies; every other byte stays as it is."""

import re
from collections.abc import Collection
from enum import Enum, auto

import msgspec

HOLD_BYTES = 1024 * 1024
"""An answer is held back at most this long while its model is looked for; then it passes unchanged."""

LONGEST_KEY = 64
"""Bytes of a key that are kept; escaped, the longest of those that count has 54."""

_MARK = re.compile(rb'["{}\[\]]')
_INNER = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
_BLANKS = re.compile(rb"[ \t\r\n]*+")
_ESCAPE = re.compile(rb"\\(?:u00([0-9a-fA-F]{2}))?")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

Span = tuple[int, int]


class _Key(Enum):
    PLAIN = auto()
    MODEL = auto()
    NEST = auto()
    """The model is within its object."""


class _State(Enum):
    BETWEEN = auto()
    STRING = auto()
    AFTER_STRING = auto()
    """Behind a string that may be a key."""
    AFTER_COLON = auto()


def _unescaped(key: bytes) -> bytes | None:
    """A key's text, when every escape in it is that of a small letter; None: it is no key that counts."""
    if len(key) > LONGEST_KEY:
        return None
    for found in _ESCAPE.finditer(key):
        if found[1] is None or not 0x61 <= int(found[1], 16) <= 0x7A:
            return None
    return _ESCAPE.sub(lambda found: bytes([int(found[1], 16)]), key)


class ModelScan:
    """Walks one JSON text that comes in pieces; no byte is looked at twice."""

    __slots__ = ("_depth", "_escaped", "_inside", "_key", "_start", "_state", "_value", "_within", "at")

    def __init__(self, within: Collection[bytes] = ()) -> None:
        """*within*: keys under which an object has the model, too."""
        self.at = 0
        """Where the walk stands in the text; the caller may set it for another text."""
        self._within = within
        self._depth = 0
        self._inside = False
        """Within the object at one of these keys."""
        self._state = _State.BETWEEN
        self._start = 0
        self._value: _Key | None = None
        """The key whose value the open string is, or the next value will be; None: the string may be a
        key."""
        self._escaped = False
        self._key = bytearray()

    def line_end(self) -> None:
        """A line of an event ended: no string goes on behind it."""
        if self._state is _State.STRING:
            self._state = _State.BETWEEN

    def next(self, text: bytes | bytearray) -> Span | None:
        """The next span (quotes included) of a string value of a model key; None: *text* is at its end."""
        while self.at < len(text):
            match self._state:
                case _State.STRING:
                    if (span := self._string(text)) is not None:
                        return span
                case _State.BETWEEN:
                    self._between(text)
                case _:
                    self._after(text)
        return None

    def _string(self, text: bytes | bytearray) -> Span | None:
        begins = self.at
        if self._escaped:
            self.at += 1
            self._escaped = False
        found = _INNER.match(text, self.at)
        assert found is not None
        self.at = found.end()
        self._escaped = text[self.at : self.at + 1] == b"\\"
        self.at += self._escaped
        if self._value is None and len(self._key) <= LONGEST_KEY:
            self._key += text[begins : min(self.at, begins + LONGEST_KEY + 1)]
        if self._escaped or self.at == len(text):
            return None
        self.at += 1
        self._state = _State.AFTER_STRING if self._value is None else _State.BETWEEN
        return (self._start, self.at) if self._value is _Key.MODEL else None

    def _open_string(self, value: _Key | None) -> None:
        self._start, self._value, self._escaped = self.at, value, False
        self._key.clear()
        self._state = _State.STRING
        self.at += 1

    def _between(self, text: bytes | bytearray) -> None:
        found = _MARK.search(text, self.at)
        if found is None:
            self.at = len(text)
            return
        self.at = found.start()
        mark = found.group()
        if mark == b'"':
            keyed = self._depth == 1 or (self._inside and self._depth == 2)
            self._open_string(None if keyed else _Key.PLAIN)
            return
        self.at += 1
        self._depth += 1 if mark in b"{[" else -1
        self._inside &= self._depth > 1

    def _after(self, text: bytes | bytearray) -> None:
        found = _BLANKS.match(text, self.at)
        assert found is not None
        self.at = found.end()
        if self.at == len(text):
            return
        mark = text[self.at : self.at + 1]
        if self._state is _State.AFTER_STRING:
            self._state = _State.BETWEEN
            if mark == b":":
                self._state, self._value = _State.AFTER_COLON, self._what()
                self.at += 1
            return
        self._state = _State.BETWEEN
        if mark == b'"':
            self._open_string(self._value)
        elif mark == b"{" and self._value is _Key.NEST:
            self._depth += 1
            self._inside = True
            self.at += 1

    def _what(self) -> _Key:
        key = _unescaped(bytes(self._key))
        if key == b"model":
            return _Key.MODEL
        nests = self._depth == 1 and key in self._within
        return _Key.NEST if nests else _Key.PLAIN


def _replace(text: bytes, spans: list[Span], value: bytes) -> bytes:
    parts: list[bytes] = []
    done = 0
    for start, end in spans:
        parts += (text[done:start], value)
        done = end
    return b"".join((*parts, text[done:])) if parts else text


def replace_model(body: bytes, name: str) -> bytes:
    """*body* with *name* as the value of every top-level `model` key that holds a string.

    Every one, should the key stand twice: parsers differ in which one they believe.
    """
    scan = ModelScan()
    return _replace(body, list(iter(lambda: scan.next(body), None)), msgspec.json.encode(name))


class JsonRestorer:
    """Puts *name* into a plain JSON answer that comes in chunks."""

    __slots__ = ("_held", "_name", "_passing", "_scan")

    def __init__(self, name: str) -> None:
        self._name = msgspec.json.encode(name)
        self._held = bytearray()
        self._scan = ModelScan()
        self._passing = False

    def feed(self, chunk: bytes) -> bytes:
        """What may be sent on now: nothing until the model is found, then everything."""
        if self._passing:
            return chunk
        self._held += chunk
        span = self._scan.next(self._held)
        if span is None and len(self._held) <= HOLD_BYTES:
            return b""
        self._passing = True
        held = self.finish()
        return held if span is None else _replace(held, [span], self._name)

    def finish(self) -> bytes:
        """What was held when the answer ended."""
        held, self._held = bytes(self._held), bytearray()
        return held


class SseRestorer:
    """Puts *name* into the data of every event, on however many lines, of a stream that comes in chunks."""

    __slots__ = ("_first", "_held", "_name", "_overlong", "_returned", "_scan", "_within")

    def __init__(self, name: str, within: Collection[str] = ()) -> None:
        """*within*: see `counts.Answers`."""
        self._name = msgspec.json.encode(name)
        self._held = bytearray()
        """A line without its end so far."""
        self._overlong = False
        """The line got too long to be held: it passes as it is."""
        self._returned = False
        """The last byte was a carriage return, which ended a line."""
        self._first = True
        """No line has ended."""
        self._within = tuple(key.encode() for key in within)
        self._scan = ModelScan(self._within)

    def feed(self, chunk: bytes) -> bytes:
        """The whole lines so far; an unfinished line waits for its end, or passes when it gets too long."""
        out: list[bytes] = []
        at = 0
        if self._returned and chunk.startswith(b"\n"):
            out.append(b"\n")
            at = 1
            self._returned = False
        self._returned = self._returned and at == len(chunk)
        for end in _LINE_END.finditer(chunk, at):
            line = chunk[at : end.start()]
            if self._overlong:
                out.append(line)
                self._overlong, self._scan = False, ModelScan(self._within)
            else:
                out.append(self._line(bytes(self._held + line) if self._held else line))
                self._held.clear()
            self._first = False
            out.append(end.group())
            at = end.end()
            self._returned = at == len(chunk) and end.group() == b"\r"
        if self._overlong:
            out.append(chunk[at:])
        else:
            self._held += chunk[at:]
            if len(self._held) > HOLD_BYTES:
                self._overlong = True
                out.append(bytes(self._held))
                self._held.clear()
        return b"".join(out)

    def _line(self, line: bytes) -> bytes:
        mark = len(_BYTE_ORDER_MARK) if self._first and line.startswith(_BYTE_ORDER_MARK) else 0
        if len(line) == mark:
            self._scan = ModelScan(self._within)
        if not line.startswith(b"data:", mark):
            return line
        scan = self._scan
        scan.at = mark + len(b"data:")
        spans = list(iter(lambda: scan.next(line), None))
        scan.line_end()
        return _replace(line, spans, self._name)

    def finish(self) -> bytes:
        """The last line, when it had no end."""
        held = bytes(self._held)
        self._held.clear()
        return self._line(held)


Restorer = JsonRestorer | SseRestorer


def media_type(content_type: str) -> str:
    """The type that a header's value names, without parameters, in small letters."""
    return content_type.partition(";")[0].strip(" \t").lower()


def is_readable(content_encoding: str) -> bool:
    """Whether a body is not compressed, by this header's value."""
    return content_encoding.lower() in ("", "identity")


def restorer(content_type: str, content_encoding: str, name: str, within: Collection[str]) -> Restorer | None:
    """How to restore *name* in an answer of this kind; None when its bytes cannot be read.

    *within*: see `counts.Answers`.
    """
    if not is_readable(content_encoding):
        return None
    kind = media_type(content_type)
    if kind == "text/event-stream":
        return SseRestorer(name, within)
    return JsonRestorer(name) if kind == "application/json" or kind.endswith("+json") else None
