"""Connections that are kept, and when they are not; plain and over TLS."""

import asyncio
import datetime
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from headgate.io.extproc.tls import self_signed
from headgate.io.scrape.client import PageClient, PageError
from headgate.io.scrape.connection import HEADER_BYTES
from headgate.io.trust import Trust
from headgate.model.endpoints import Endpoint
from headgate.model.ids import endpoint_id

OK = b"HTTP/1.1 200 OK\r\n"


class Scripted:
    """A server of whole answers: each connection gives the next ones of its own script, then closes."""

    def __init__(self, *connections: tuple[bytes, ...]) -> None:
        self._scripts = list(connections)
        self.asked: list[int] = []
        """Of each request, the number of its connection."""
        self.opened = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number = self.opened
        self.opened += 1
        try:
            for answer in self._scripts[number]:
                await reader.readuntil(b"\r\n\r\n")
                self.asked.append(number)
                writer.write(answer)
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def scripted(server: Scripted) -> AsyncIterator[PageClient]:
    listening = await asyncio.start_server(server, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        with closing(
            PageClient(Endpoint(endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s"), 0.3)
        ) as asking:
            yield asking


PAGE = OK + b"Content-Length: 4\r\n\r\npage"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\npage\r\n0\r\n\r\n"
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnone"


async def test_pages_and_refusals_come_over_one_connection() -> None:
    server = Scripted((PAGE, CHUNKED, GONE, PAGE, PAGE))
    async with scripted(server) as asking:
        assert [await asking.get("/metrics") for _ in range(2)] == [b"page", b"page"]
        with pytest.raises(PageError, match="http-404"):
            await asking.get("/nowhere")
        assert await asking.get("/metrics") == b"page"
    assert server.asked == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "first",
    [
        (PAGE,),
        (PAGE, b""),
        (OK + b"Connection: close\r\nContent-Length: 4\r\n\r\npage", PAGE),
        (PAGE + b"HTTP/1.1 408 Too Late\r\n\r\n", PAGE),
        (PAGE + b"\r\nmore", PAGE),
    ],
    ids=["closed", "closed as it is asked", "said to be closed", "an answer unasked", "noise"],
)
async def test_a_connection_that_cannot_be_kept_is_opened_again(first: tuple[bytes, ...]) -> None:
    server = Scripted(first, (PAGE,))
    async with scripted(server) as asking:
        assert [await asking.get("/metrics") for _ in range(2)] == [b"page", b"page"]
    assert server.opened == 2


async def test_an_answer_that_began_is_not_asked_for_again() -> None:
    server = Scripted((PAGE, OK + b"Content-Length: 9\r\n\r\nhalf"), (PAGE,))
    async with scripted(server) as asking:
        await asking.get("/metrics")
        with pytest.raises(PageError, match="reset"):
            await asking.get("/metrics")
        assert server.asked == [0, 0]
        assert await asking.get("/metrics") == b"page"


@pytest.mark.parametrize("patience", [0.05, 5.0], ids=["given up", "too late"])
async def test_a_late_answer_is_not_taken_for_the_next_one(patience: float) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
            if path == b"/slow":
                await reader.read()
            else:
                writer.write(PAGE)
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        with closing(
            PageClient(Endpoint(endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s"), 0.3)
        ) as asking:
            with pytest.raises((PageError, TimeoutError), match="timeout" if patience > 1 else None):
                async with asyncio.timeout(patience):
                    await asking.get("/slow")
            assert await asking.get("/metrics") == b"page"


@pytest.mark.parametrize(("hostname", "word"), [("localhost", None), ("llm.example", "tls"), ("", "tls")])
async def test_a_page_over_tls_needs_a_trusted_certificate_of_that_name(
    hostname: str, word: str | None, tmp_path: Path
) -> None:
    pair = self_signed(datetime.datetime.now(datetime.UTC))
    (tmp_path / "tls.pem").write_bytes(pair.key + pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")
    server = Scripted((PAGE, PAGE), ())
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        endpoint = Endpoint(
            endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s", scheme="https", hostname=hostname
        )
        with closing(PageClient(endpoint, 2.0, Trust(str(tmp_path / "tls.pem")))) as asking:
            if word is None:
                assert [await asking.get("/metrics") for _ in range(2)] == [b"page", b"page"]
            else:
                with pytest.raises(PageError, match=word):
                    await asking.get("/metrics")
    assert server.asked == ([] if word else [0, 0])


LONG = b"x" * (HEADER_BYTES // 4)


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"A: " + LONG * 5,
        OK
        + b"".join(b"A%d: %s\r\n" % (number, LONG) for number in range(5))
        + b"Content-Length: 4\r\n\r\npage",
        b"HTTP/1.1 200 " + LONG * 5,
        (b"HTTP/1.1 103 Early\r\nA: " + LONG + b"\r\n\r\n") * 5 + PAGE,
        CHUNKED[:-2] + b"".join(b"A%d: %s\r\n" % (number, LONG) for number in range(5)) + b"\r\n",
        OK + b"Transfer-Encoding: chunked\r\n\r\n4;" + LONG * 5 + b"\r\npage\r\n0\r\n\r\n",
    ],
    ids=["a header line", "headers", "status line", "announcements", "trailers", "chunk extension"],
)
async def test_what_surrounds_a_page_is_bounded(answer: bytes) -> None:
    server = Scripted((answer,), (PAGE,))
    async with scripted(server) as asking:
        with pytest.raises(PageError, match="too-large"):
            await asking.get("/metrics")
        assert await asking.get("/metrics") == b"page"


async def test_a_large_page_in_small_chunks_is_no_long_framing() -> None:
    chunk = b"7\r\n1234567\r\n"
    answer = OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 100_000 + b"0\r\n\r\n"
    server = Scripted((answer, PAGE))
    async with scripted(server) as asking:
        assert len(await asking.get("/metrics")) == 700_000
        assert await asking.get("/metrics") == b"page"
    assert server.opened == 1
