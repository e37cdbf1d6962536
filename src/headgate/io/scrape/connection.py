"""One kept connection to an HTTP server, a GET at a time. The bytes are read by httptools."""

import asyncio
from typing import cast

import httptools
import msgspec


class Answer(msgspec.Struct, frozen=True):
    """What the server said."""

    status: int
    headers: dict[bytes, bytes]
    """By lower-case name."""
    body: bytes


HEADER_BYTES = 64 * 1024
"""Of an answer besides its body and as many bytes of chunk framing: status line, headers, trailers, and
announcements before it."""


class TooLongError(Exception):
    """The answer is longer than allowed."""


class Connection(asyncio.Protocol):
    """An open connection. An error ends it, and so does everything that comes unasked."""

    def __init__(self, longest_body: int) -> None:
        self._longest_body = longest_body
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._parser.set_dangerous_leniencies(
            lenient_headers=True, lenient_optional_cr_before_lf=True, lenient_spaces_after_chunk_size=True
        )
        self._answer: asyncio.Future[Answer] | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._start()
        self.heard = False
        """Something came since it was asked."""
        self._framing = 0
        """Bytes since it was asked, less twice those that turned out to be body."""

    @property
    def usable(self) -> bool:
        """It can be asked."""
        return not self._transport.is_closing()

    def ask(self, request: bytes, deadline: float) -> asyncio.Future[Answer]:
        """Send *request* while it is `usable` and nothing else is asked; *deadline* is in the loop's time.

        The future fails with TimeoutError, ConnectionError, httptools.HttpParserError or TooLongError.
        """
        self.heard = False
        self._framing = 0
        self._answer = self._loop.create_future()
        self._alarm = self._loop.call_at(deadline, self._fail, TimeoutError())
        self._transport.write(request)
        return self._answer

    def close(self) -> None:
        """End it at once."""
        self._calm()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        self.heard = True
        self._framing += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._fail(error)
        if self._framing > HEADER_BYTES:  # the parser itself collects a header line for ever
            self._fail(TooLongError())

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        if exc is None and self._until_close:
            self.on_message_complete()
        self._fail(ConnectionResetError("it was closed"))

    def on_message_begin(self) -> None:
        """See httptools."""
        if self._answer is None or self._answer.done():
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        """See httptools."""
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """See httptools."""
        self._keep = self._parser.should_keep_alive()
        chunked = b"chunked" in self._headers.get(b"transfer-encoding", b"").lower()
        self._until_close = not chunked and b"content-length" not in self._headers

    def on_body(self, body: bytes) -> None:
        """See httptools."""
        self._body.append(body)
        self._length += len(body)
        self._framing -= 2 * len(body)
        if self._length > self._longest_body:
            self._fail(TooLongError())

    def on_message_complete(self) -> None:
        """See httptools."""
        status = self._parser.get_status_code()
        if 100 <= status < 200:  # only an announcement
            self._start()
            return
        if self._framing > HEADER_BYTES:
            self._fail(TooLongError())
        elif self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(status, self._headers, b"".join(self._body)))
        self._calm()
        if not self._keep:
            self.close()
        self._start()

    def _start(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._length = 0
        self._until_close = False
        self._keep = True

    def _fail(self, error: Exception) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
        self.close()

    def _calm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
