"""One HTTP GET of a small page from an endpoint, with every failure as one stable word."""

import errno
import zlib
from urllib.parse import urljoin, urlsplit

import aiohttp

from headgate.model.endpoints import Endpoint

MAX_PAGE_BYTES = 4 << 20
"""A longer page is refused: `too-large`."""

_HEADERS = {"Accept-Encoding": "identity", "Accept": "text/plain, application/json"}
"""A compressed page would cost the engine more CPU than the loopback or the rack's network."""

_OURS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
"""What keeps this process from opening a connection, and says nothing of the other side."""


class PageError(Exception):
    """A page that did not come; `word` says why.

    `refused`, `unreachable`, `reset`, `timeout`, `tls`, `too-large`, `garbled`, `not-http`, `http-` and the
    status, or `not-sent`: this process has no connection to spare.
    """

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word

    @property
    def answered(self) -> bool:
        """Whether an HTTP server answered at all."""
        return self.word.startswith("http-") or self.word in ("too-large", "garbled")


def open_session(timeout_s: float) -> aiohttp.ClientSession:
    """A session for `get_page`: kept-alive connections, no cookies, no proxies of the environment."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=75, enable_cleanup_closed=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=timeout_s),
        headers=_HEADERS,
        auto_decompress=False,
    )


async def get_page(session: aiohttp.ClientSession, endpoint: Endpoint, path: str) -> bytes:
    """The body of `GET` *path* at *endpoint*, status 200 only; one redirect within the server is followed
    (`/metrics` to `/metrics/`), another compression than asked for is undone.

    Raises:
        PageError: anything else.
    """
    try:
        try:
            return await _get(session, endpoint, path)
        except _MovedError as moved:
            return await _get(session, endpoint, moved.to)
    except _MovedError as moved:
        raise PageError(moved.word) from moved
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise PageError(_word(error)) from error


class _MovedError(PageError):
    """The page is elsewhere on the same server."""

    def __init__(self, status: int, to: str) -> None:
        super().__init__(f"http-{status}")
        self.to = to


async def _get(session: aiohttp.ClientSession, endpoint: Endpoint, path: str) -> bytes:
    host = endpoint.hostname or endpoint.ip
    url = f"{endpoint.scheme}://{endpoint.id}{path}"
    async with session.get(
        url,
        headers={"Host": host} if endpoint.hostname else None,
        server_hostname=host if endpoint.scheme == "https" else None,
        allow_redirects=False,
    ) as response:
        if response.status == 200:
            return _plain(await _read(response), response.headers.get("content-encoding", ""))
        place = response.headers.get("location", "") if 300 < response.status < 400 else ""
        to = urlsplit(urljoin(url, place))
        if place and to.path != path and to.hostname in (endpoint.ip, host):
            raise _MovedError(response.status, to.path)
        raise PageError(f"http-{response.status}")


def _plain(page: bytes, encoding: str) -> bytes:
    """*page* without its compression; unchanged where that is unknown."""
    if encoding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return page
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpacker.decompress(page, MAX_PAGE_BYTES)
    except zlib.error as error:
        raise PageError("garbled") from error
    if unpacker.unconsumed_tail:
        raise PageError("too-large")
    return plain


async def _read(response: aiohttp.ClientResponse) -> bytes:
    if response.content_length is not None and response.content_length <= MAX_PAGE_BYTES:
        return await response.read()
    page = bytearray()
    async for chunk in response.content.iter_any():
        page += chunk
        if len(page) > MAX_PAGE_BYTES:
            raise PageError("too-large")
    return bytes(page)


def _word(error: Exception) -> str:
    match error:
        case TimeoutError():
            return "timeout"
        case aiohttp.ClientSSLError():
            return "tls"
        case aiohttp.ClientConnectorError(os_error=os_error) if os_error.errno == errno.ECONNREFUSED:
            return "refused"
        case aiohttp.ClientConnectorError(os_error=os_error) if os_error.errno in _OURS:
            return "not-sent"
        case aiohttp.ClientConnectorError():
            return "unreachable"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return "reset"
        case _:
            return "not-http"
