"""One page from one endpoint, and the word for why it did not come."""

import asyncio
import errno
import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing

import pytest

from headgate.io.scrape import client
from headgate.io.scrape.client import PageClient, PageError
from headgate.model.endpoints import Endpoint
from headgate.model.ids import endpoint_id

OK = b"HTTP/1.1 200 OK\r\n"


@asynccontextmanager
async def answering(answer: bytes, heard: Callable[[bytes], object] = len) -> AsyncIterator[Endpoint]:
    """A server that sends *answer* to whatever comes, and closes."""

    handling: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling.add(asyncio.current_task())
        try:
            heard(await reader.read(4096))
            writer.write(answer)
            await writer.drain()
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        yield Endpoint(endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s", hostname="llm.example")
    await asyncio.gather(*(task for task in handling if task is not None), return_exceptions=True)


async def got(endpoint: Endpoint) -> bytes:
    with closing(PageClient(endpoint, 0.3)) as asking:
        return await asking.get("/metrics")


async def failed(endpoint: Endpoint) -> PageError:
    with pytest.raises(PageError) as caught:
        await got(endpoint)
    return caught.value


@pytest.mark.parametrize(
    "answer",
    [
        OK + b"Content-Length: 4\r\n\r\npage",
        OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\npa\r\n2\r\nge\r\n0\r\n\r\n",
        OK + b"Connection: close\r\n\r\npage",
        OK + b"Transfer-Encoding: identity\r\n\r\npage",
        OK + b"CONTENT-LENGTH: 4\r\n\r\npage",
        OK + b"trAnsfer-encoDing: CHUNKED\r\n\r\n4;of=page\r\npage\r\n0\r\nTrailer: 1\r\n\r\n",
        OK + b"CONTENT-ENCODING: GZIP\r\nConnection: close\r\n\r\n" + gzip.compress(b"page", mtime=0),
        b"HTTP/1.0 200 OK\r\n\r\npage",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\npage",
        OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"page", mtime=0),
        OK + b"Content-Encoding: deflate\r\nConnection: close\r\n\r\n" + zlib.compress(b"page"),
    ],
)
async def test_a_page_however_it_is_framed(answer: bytes) -> None:
    async with answering(answer) as endpoint:
        assert await got(endpoint) == b"page"


async def test_the_host_of_the_url_is_asked_for_without_compression() -> None:
    asked: list[bytes] = []
    async with answering(OK + b"Content-Length: 0\r\n\r\n", asked.append) as endpoint:
        await got(endpoint)
    assert asked[0].startswith(b"GET /metrics HTTP/1.1\r\nHost: llm.example\r\n")
    assert b"Accept-Encoding: identity" in asked[0]


@pytest.mark.parametrize(
    ("answer", "word", "answered"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "http-404", True),
        (b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", "http-302", True),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.9.9.9/x\r\nContent-Length: 0\r\n\r\n", "http-302", True),
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "http-401", True),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\npage", "garbled", True),
        (
            OK + b"Content-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzip.compress(b"x" * 900, mtime=0),
            "too-large",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "http-204", True),
        (b"SSH-2.0-what\r\n\r\n", "not-http", False),
        (b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nx", "not-http", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\nnumber\r\n", "not-http", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\npage\r\n", "reset", False),
        (OK, "reset", False),
        (b"", "reset", False),
        (OK + b"Content-Length: 9\r\n\r\nhalf", "reset", False),
        (OK + b"Content-Length: 900\r\n\r\n" + b"x" * 900, "too-large", True),
        (
            OK + b"Transfer-Encoding: chunked\r\n\r\n384\r\n" + b"x" * 900 + b"\r\n0\r\n\r\n",
            "too-large",
            True,
        ),
    ],
)
async def test_a_failure_has_a_word(
    answer: bytes, word: str, answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MAX_PAGE_BYTES", 100)
    async with answering(answer) as endpoint:
        failure = await failed(endpoint)
    assert (failure.word, failure.answered) == (word, answered)


@pytest.mark.parametrize("place", ["/metrics/", "http://127.0.0.1:1/metrics/", "http://llm.example/metrics/"])
async def test_a_redirect_within_the_server_is_followed_once(place: str) -> None:
    asked: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1].decode()
        asked.append(path)
        found = OK + b"Content-Length: 4\r\n\r\npage"
        moved = f"HTTP/1.1 307 Moved\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
        writer.write(found if path == "/metrics/" else moved)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        endpoint = Endpoint(endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s", hostname="llm.example")
        assert await got(endpoint) == b"page"
    assert asked == ["/metrics", "/metrics/"]


async def test_no_descriptor_left_is_not_the_endpoints_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    async def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", none_left)
    failure = await failed(Endpoint(endpoint_id("127.0.0.1", 9), "127.0.0.1", 9, "s"))
    assert (failure.word, failure.answered) == ("not-sent", False)


async def test_silence_is_a_timeout() -> None:
    gone = asyncio.Event()

    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        gone.set()

    server = await asyncio.start_server(mute, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        failure = await failed(Endpoint(endpoint_id("127.0.0.1", port), "127.0.0.1", port, "s"))
        await gone.wait()
    assert (failure.word, failure.answered) == ("timeout", False)


async def test_nobody_there() -> None:
    assert (await failed(Endpoint(endpoint_id("127.0.0.1", 9), "127.0.0.1", 9, "s"))).word == "refused"


async def test_https_towards_plain_http_is_a_tls_error() -> None:
    async with answering(OK + b"\r\n") as endpoint:
        secure = Endpoint(
            endpoint.id, endpoint.ip, endpoint.port, "s", scheme="https", hostname="llm.example"
        )
        assert (await failed(secure)).word == "tls"
