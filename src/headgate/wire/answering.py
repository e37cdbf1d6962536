"""The response phase of one ext_proc stream: what the answer says of itself, and what is sent back for it."""

from collections import deque
from collections.abc import Mapping

from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headgate.model import headers as names
from headgate.model.ids import EndpointId, StreamId
from headgate.model.requests import Usage
from headgate.wire import answers
from headgate.wire.api import Format
from headgate.wire.digest import digest
from headgate.wire.first_token import TokenReader
from headgate.wire.messages import is_local, read_headers, served_endpoint
from headgate.wire.numbers import whole_number
from headgate.wire.rewrite import Restorer, is_readable, restorer
from headgate.wire.said import AnswerStored, FirstToken, RequestEnded, ResponseStarted, Said
from headgate.wire.stored import IdReader
from headgate.wire.usage import UsageReader


def pass_body(outbox: deque[bytes], body: bytes, end: bool, *, duplex: bool) -> None:
    """Answers a response chunk so that it goes on as it is."""
    if duplex:
        outbox += answers.streamed_response(body, end=end)
    else:
        outbox.append(answers.EMPTY_RESPONSE_BODY)


class Look:
    """What is looked for in the bytes of one answer: the id under which it is kept, and its first token."""

    __slots__ = ("_id", "_stream", "_token")

    def __init__(self, stream: StreamId, id_: IdReader | None, token: TokenReader | None) -> None:
        """None: it is not looked for."""
        self._stream = stream
        self._id = id_
        self._token = token

    @property
    def done(self) -> bool:
        """Nothing more can be found."""
        return self._id is None and self._token is None

    def expect_no_token(self) -> None:
        """The answer turns out to be no event stream."""
        self._token = None

    def feed(self, piece: bytes, served: EndpointId | None) -> list[Said]:
        """Looks into the answer's next piece."""
        said: list[Said] = []
        if self._id is not None:
            if (found := self._id.feed(piece)) is not None:
                said.append(AnswerStored(self._stream, digest(found), served))
            if self._id.done:
                self._id = None
        if self._token is not None and self._token.feed(piece):
            said.append(FirstToken(self._stream))
            self._token = None
        return said


class Answering:
    """One answer on its way to the client.

    `leaving` says that the stream may be closed; `whole` that the answer was seen to its end.
    """

    __slots__ = (
        "_duplex",
        "_format",
        "_lean",
        "_look",
        "_outbox",
        "_restorer",
        "_stream",
        "_usage",
        "leaving",
        "served",
        "status",
        "whole",
    )

    def __init__(
        self, stream: StreamId, outbox: deque[bytes], format_: Format, *, duplex: bool, lean: bool
    ) -> None:
        """*format_*: the request's. *duplex*: every byte must be sent back. *lean*: see `headers.LEAN`."""
        self._stream = stream
        self._format = format_
        self._outbox = outbox
        self._duplex = duplex
        self._lean = lean
        self._look = Look(stream, None, None)
        self._restorer: Restorer | None = None
        self._usage: UsageReader | None = None
        self.leaving = False
        self.served: EndpointId | None = None
        self.status = 0
        self.whole = False

    def begin(
        self, message: pb.ProcessingRequest, additions: Mapping[str, str], asked_model: str | None
    ) -> list[Said]:
        """Response headers. *additions* are headers for the client (the request id only when it is missing);
        *asked_model* is put into the answer unless None.
        """
        headers = read_headers(message.response_headers)
        self.status = whole_number(headers.get(":status", "")) or 0
        self.served = served_endpoint(message)
        kind, encoding = headers.get("content-type", ""), headers.get("content-encoding", "")
        events, what = kind.lower().startswith("text/event-stream"), self._format.answers
        if asked_model is not None:
            self._restorer = restorer(kind, encoding, asked_model, what.within)
        put = dict(additions)
        if put and self.served is not None:
            put[names.ENDPOINT] = self.served
        if names.REQUEST_ID in headers:
            put.pop(names.REQUEST_ID, None)
        remove = () if self._restorer is None else ("content-length",)
        self._outbox.append(answers.response_headers(put, remove))
        if self.status < 400:
            self._look = Look(
                self._stream,
                IdReader(what.within) if what.stored else None,
                TokenReader(what, readable=is_readable(encoding)) if events else None,
            )
        said: list[Said] = [
            ResponseStarted(self._stream, self.status, self.served, is_local(message), not events)
        ]
        if message.response_headers.end_of_stream:
            return said + self._finish()
        if not self._lean:
            self._usage = UsageReader(self._format.counter)
        else:
            self.leaving = self._restorer is None and self._look.done
        return said

    def chunk(self, message: pb.ProcessingRequest) -> list[Said]:
        """A piece of the body."""
        body, end = message.response_body.body, message.response_body.end_of_stream
        said = self._look.feed(body, self.served)
        if self._usage is not None and body:
            self._usage.feed(body)
        self._send(body, end)
        if end:
            said += self._finish()
        else:
            self.leaving = self._lean and self._restorer is None and self._look.done
        return said

    def _send(self, body: bytes, end: bool) -> None:
        if self._restorer is None:
            pass_body(self._outbox, body, end, duplex=self._duplex)
            return
        body = self._restorer.feed(body) + (self._restorer.finish() if end else b"")
        if self._duplex:
            self._outbox += answers.streamed_response(body, end=end)
        else:
            self._outbox.append(answers.replaced_response(body))

    def trailers(self) -> list[Said]:
        """Response trailers. Held bytes can go before them only on a full-duplex stream."""
        if self._restorer is not None and self._duplex:
            self._outbox += answers.streamed_response(self._restorer.finish(), end=False)
        self._outbox.append(answers.EMPTY_RESPONSE_TRAILERS)
        return self._finish()

    def usage(self) -> Usage | None:
        """What the bytes so far say."""
        return None if self._usage is None else self._usage.usage()

    def _finish(self) -> list[Said]:
        """The answer is whole. Our own Envoy's access log says so itself, with the usage."""
        self.leaving = self.whole = True
        return (
            []
            if self._lean
            else [RequestEnded(self._stream, "complete", self.status, self.usage(), self.served)]
        )
