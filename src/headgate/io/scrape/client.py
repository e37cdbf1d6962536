"""One HTTP GET of a small page from an endpoint, with every failure as one stable word."""

import errno

import aiohttp

from headgate.model.endpoints import Endpoint

MAX_PAGE_BYTES = 4 << 20
"""A longer page is refused: `too-large`."""

_HEADERS = {"Accept-Encoding": "identity", "Accept": "text/plain, application/json"}
"""A compressed page would cost the engine more CPU than the loopback or the rack's network."""


class PageError(Exception):
    """A page that did not come; `word` says why.

    `refused`, `unreachable`, `reset`, `timeout`, `tls`, `too-large`, `not-http`, or `http-` and the status.
    """

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word

    @property
    def answered(self) -> bool:
        """Whether an HTTP server answered at all."""
        return self.word.startswith("http-") or self.word == "too-large"


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
    """The body of `GET` *path* at *endpoint*, status 200 only.

    Raises:
        PageError: anything else.
    """
    host = endpoint.hostname or endpoint.ip
    try:
        async with session.get(
            f"{endpoint.scheme}://{endpoint.id}{path}",
            headers={"Host": host} if endpoint.hostname else None,
            server_hostname=host if endpoint.scheme == "https" else None,
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                raise PageError(f"http-{response.status}")
            return await _read(response)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise PageError(_word(error)) from error


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
        case aiohttp.ClientConnectorError():
            return "unreachable"
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientPayloadError() | OSError():
            return "reset"
        case _:
            return "not-http"
