"""The top of a JSON text, of which nothing is judged: what stands at the keys of its first object.

The native wire walks by the same rules (`native/src/outline.rs`).
"""

import re
from collections.abc import Collection, Iterator

_TOKEN = re.compile(rb'"((?:[^"\\]|\\.)*+)"[ \t\r\n]*+(:?)|[{}\[\]"]', re.DOTALL)


class Outline:
    """Keys of a text's first object, and of objects in it at some keys, with the strings that stand there.

    An iteration gives pairs: a key, and a string as it is written, without its quotes; or None for a list or
    an object. Other values are left out. Of a text that is cut it gives what more bytes would not change.
    """

    __slots__ = ("_text", "_within", "closed")

    def __init__(self, text: bytes, within: Collection[bytes] = ()) -> None:
        """*within*: keys whose objects are walked through, too."""
        self._text = text
        self._within = within
        self.closed = False
        """The walk came to the object's end."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes | None]]:
        text = self._text
        start = text.find(b"{")
        if start < 0:
            return
        depth, inside = 0, False
        key: bytes | None = None
        for token in _TOKEN.finditer(text, start):
            mark = token.group()
            if mark in (b"}", b"]"):
                depth -= 1
                key = None
                if not depth:
                    self.closed = True
                    return
                continue
            opens = mark in (b"{", b"[")
            if mark == b'"' or not (opens or token[2] or token.end() < len(text)):
                return  # the string goes on, or what is behind it is not there yet
            if token[2]:
                key = token[1]
                continue
            if key is not None and (depth == 1 or (depth == 2 and inside)):
                yield key, None if opens else token[1]
            if opens:
                depth += 1
                if depth == 2:
                    inside = mark == b"{" and key in self._within
            key = None
