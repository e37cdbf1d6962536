"""An answer of which our own Envoy sends the body without the headers: one that needs no change.

Whether it is an event stream is seen from its first bytes.
"""

from collections import deque

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headgate.model.ids import EndpointId, StreamId
from headgate.wire import answers
from headgate.wire.answering import Look, pass_body
from headgate.wire.counts import Answers
from headgate.wire.first_token import TokenReader
from headgate.wire.messages import served_endpoint
from headgate.wire.said import ResponseStarted, Said
from headgate.wire.stored import IdReader

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EVENT_LINES = (b"data:", b"event:", b"id:", b"retry:", b":")
LONGEST_BEGINNING = 64
"""Bytes of a piece that tell whether an answer is an event stream."""


def begins_events(beginning: bytes) -> bool | None:
    """Whether an answer that begins so is an event stream; None: more of it must be seen.

    A byte order mark and empty lines may come first.
    """
    if not beginning.startswith(_BYTE_ORDER_MARK) and _BYTE_ORDER_MARK.startswith(beginning):
        return None
    line = beginning.removeprefix(_BYTE_ORDER_MARK).lstrip(b"\r\n")
    if line.startswith(_EVENT_LINES):
        return True
    return None if any(each.startswith(line) for each in _EVENT_LINES) else False


class Headerless:
    """One such answer on its way to the client; the access log will tell its end.

    `leaving` says that the stream may be closed.
    """

    __slots__ = ("_beginning", "_duplex", "_look", "_outbox", "_served", "_stream", "_what", "leaving")

    def __init__(self, stream: StreamId, outbox: deque[bytes], what: Answers, *, duplex: bool) -> None:
        """*what*: what answers to the request hold. *duplex*: every byte must be sent back."""
        self._stream = stream
        self._outbox = outbox
        self._what = what
        self._duplex = duplex
        self._served: EndpointId | None = None
        self._beginning: bytes | None = b""
        """Until it is known what it is."""
        self._look = Look(stream, IdReader(what.within) if what.stored else None, TokenReader(what))
        self.leaving = False

    def chunk(self, message: pb.ProcessingRequest) -> list[Said]:
        """A piece of the body."""
        piece = message.response_body
        body, end = piece.body, piece.end_of_stream
        pass_body(self._outbox, body, end, duplex=self._duplex)
        said: list[Said] = []
        if self._beginning is not None:
            self._served = served_endpoint(message)
            self._beginning += body[:LONGEST_BEGINNING]
            events = begins_events(self._beginning)
            if events is not None or end:
                self._beginning = None
                if events:
                    said.append(ResponseStarted(self._stream, 200, self._served))
                else:
                    self._look.expect_no_token()  # plain, or an error: the access log tells
            elif len(self._beginning) > LONGEST_BEGINNING:
                self._beginning = self._beginning.lstrip(b"\xef\xbb\xbf\r\n")
        said += self._look.feed(body, self._served)
        self.leaving = end or (self._beginning is None and self._look.done)
        return said

    def trailers(self) -> list[Said]:
        """Response trailers."""
        self._outbox.append(answers.EMPTY_RESPONSE_TRAILERS)
        self.leaving = True
        return []
