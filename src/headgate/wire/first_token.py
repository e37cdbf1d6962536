"""Where the first token is in an event stream: by then the prompt is computed.

Streams of some APIs begin with events that a server sends before it computes anything, and servers send
comments while they compute. A format says which events carry no token (`counts.Answers`). The native wire
reads by the same rules (`native/src/first_token.rs`).
"""

import re

from headgate.wire.counts import Answers
from headgate.wire.outline import Outline

LONGEST_EVENT = 16 * 1024
"""Bytes of an event's data, and of a line, that are looked at: a token comes in less."""
MOST_LINES = 10_000
"""Lines that are looked at; a stream that has shown no token by then counts as begun."""

_LINE_END = re.compile(rb"\r\n|\r|\n")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANKS = b" \t\n"
_DONE = b"[DONE]"


class TokenReader:
    """Takes a stream's pieces until an event has come that carries a token.

    An event carries one unless its data is empty or `[DONE]`, or says one of the format's `tokenless` names.
    One whose object is whole in one line is judged at that line's end, others at theirs. One whose data is
    too long to be seen whole needs a name of its own to carry a token.
    """

    __slots__ = (
        "_cut",
        "_data",
        "_first",
        "_line",
        "_lines",
        "_name",
        "_readable",
        "_returned",
        "_tokenless",
        "done",
    )

    def __init__(self, answers: Answers, *, readable: bool = True) -> None:
        """*answers*: the request's format's; not *readable*: compressed, so that any bytes are a token."""
        self._readable = readable
        self._tokenless = frozenset([name.encode() for name in answers.tokenless])
        self._first = True
        """No line has ended."""
        self._line = bytearray()
        """A line without its end so far, and no more of it than is looked at."""
        self._lines = 0
        """Lines that have ended."""
        self._returned = False
        """The last byte was a carriage return, which ended a line."""
        self._name = b""
        self._data: bytearray | None = None
        """Of the event so far; None: none."""
        self._cut = False
        """There is more of it."""
        self.done = False
        """The first token was there."""

    def feed(self, piece: bytes) -> bool:
        """Whether the first token is in this piece: true once."""
        if self.done or not piece:
            return False
        if not self._readable:
            self.done = True
            return True
        if self._returned and piece.startswith(b"\n"):
            piece = piece[1:]
        self._returned = piece.endswith(b"\r") if piece else False
        *lines, rest = _LINE_END.split(piece, MOST_LINES - self._lines)
        for line in lines:
            self._hold(line)
            self._lines += 1
            if self._end_line() or self._lines == MOST_LINES:
                self.done = True
                return True
        self._hold(rest)
        return False

    def _hold(self, part: bytes) -> None:
        self._line += part[: LONGEST_EVENT - len(self._line)]

    def _end_line(self) -> bool:
        """Takes the line that is held. Whether it shows that its event carries a token."""
        line, cut = bytes(self._line), len(self._line) == LONGEST_EVENT
        self._line.clear()
        if self._first:
            self._first = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            carries = self._data is not None and self._carries(bytes(self._data))
            self._name, self._data, self._cut = b"", None, False
            return carries
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value
        if field != b"data":
            return False
        if self._data is not None:
            room = LONGEST_EVENT - len(self._data)
            self._data += (b"\n" + value)[:room]
            self._cut = cut or len(self._data) == LONGEST_EVENT
            return False
        outline = Outline(value)
        tokenless, self._cut = self._says_none(outline), cut
        if not outline.closed:
            self._data = bytearray(value)
            return False
        return not tokenless and self._may_carry()

    def _carries(self, data: bytes) -> bool:
        data = data.strip(_BLANKS)
        return data not in (b"", _DONE) and self._may_carry() and not self._says_none(Outline(data))

    def _may_carry(self) -> bool:
        """Whether the event's own name lets it carry a token."""
        return self._name not in self._tokenless and (bool(self._name) or not self._cut)

    def _says_none(self, outline: Outline) -> bool:
        names = self._tokenless
        found = [key in names or (key == b"type" and text in names) for key, text in outline]
        return any(found)
