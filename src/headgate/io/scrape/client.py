"""GETs of small pages from one endpoint, with every failure as one stable word."""

import asyncio
import errno
import ssl
import zlib
from urllib.parse import quote, urljoin, urlsplit

import httptools

from headgate.io.api_keys import Keys
from headgate.io.scrape.connection import Answer, Connection, TooLongError
from headgate.io.trust import Trust, context
from headgate.model.endpoints import Endpoint

MAX_PAGE_BYTES = 4 << 20
"""A longer page is refused: `too-large`."""

_HEADERS = "Accept: text/plain, application/json\r\nAccept-Encoding: identity\r\nUser-Agent: headgate\r\n"
"""A compressed page would cost the engine more CPU than the loopback or the rack's network."""

DEFAULT = Trust()
NONE = Keys()

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


class PageClient:
    """Asks one endpoint for pages, one at a time, over one kept connection."""

    def __init__(
        self, endpoint: Endpoint, timeout_s: float, trust: Trust = DEFAULT, keys: Keys = NONE
    ) -> None:
        """*trust*: for an https endpoint that does not say otherwise."""
        self._keys = keys
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._trust = (
            Trust(endpoint.ca_file, endpoint.insecure) if endpoint.ca_file or endpoint.insecure else trust
        )
        host = endpoint.hostname or endpoint.id
        self._rest_of_request = f" HTTP/1.1\r\nHost: {host}\r\n{_HEADERS}".encode()
        self._connection: Connection | None = None

    def close(self) -> None:
        """Close its connection; the next page opens another one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    async def get(self, path: str) -> bytes:
        """The body of `GET` *path*, status 200 only; one redirect within the server is followed
        (`/metrics` to `/metrics/`), another compression than asked for is undone.

        Raises:
            PageError: anything else.
        """
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        try:
            answer = await self._ask(path, deadline)
            moved = self._moved(path, answer)
            if moved is not None:
                answer = await self._ask(moved, deadline)
        except BaseException as error:
            self.close()
            if (word := _word(error)) is None:
                raise
            raise PageError(word) from error
        if answer.status != 200:
            raise PageError(f"http-{answer.status}")
        return _plain(answer)

    async def _ask(self, path: str, deadline: float) -> Answer:
        request = b"".join((b"GET ", path.encode(), self._rest_of_request, self._authorization(), b"\r\n"))
        kept = self._connection
        if kept is not None and kept.usable:
            try:
                return await kept.ask(request, deadline)
            except ConnectionError:  # it may just have been closed for its age
                if kept.heard:
                    raise
        async with asyncio.timeout_at(deadline):
            self._connection = await self._connect()
        return await self._connection.ask(request, deadline)

    def _authorization(self) -> bytes:
        """The header line with the endpoint's key; empty without one. It is sent to this endpoint only."""
        key = self._keys.of(self._endpoint)
        return b"" if key is None else f"Authorization: Bearer {key.text}\r\n".encode()

    async def _connect(self) -> Connection:
        endpoint = self._endpoint
        secure = endpoint.scheme == "https"
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(MAX_PAGE_BYTES),
                endpoint.ip,
                endpoint.port,
                ssl=context(self._trust) if secure else None,
                server_hostname=(endpoint.hostname or endpoint.ip) if secure else None,
            )
        except ssl.SSLError as error:
            raise PageError("tls") from error
        except ConnectionRefusedError as error:
            raise PageError("refused") from error
        except OSError as error:
            raise PageError("not-sent" if error.errno in _OURS else "unreachable") from error
        return connection

    def _moved(self, path: str, answer: Answer) -> str | None:
        """The path where the page is on the same server."""
        place = answer.headers.get(b"location", b"") if 300 < answer.status < 400 else b""
        if not place:
            return None
        endpoint = self._endpoint
        try:
            to = urlsplit(urljoin(f"{endpoint.scheme}://{endpoint.id}{path}", place.decode("latin-1")))
        except ValueError:
            return None
        if to.path == path or to.hostname not in (endpoint.ip, endpoint.hostname):
            return None
        return quote(to.path, safe="/%:@!$&'()*+,;=") or "/"


def _plain(answer: Answer) -> bytes:
    """The page without its compression; unchanged where that is unknown."""
    if answer.headers.get(b"content-encoding", b"").strip().lower() not in (b"gzip", b"x-gzip", b"deflate"):
        return answer.body
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpacker.decompress(answer.body, MAX_PAGE_BYTES)
    except zlib.error as error:
        raise PageError("garbled") from error
    if unpacker.unconsumed_tail:
        raise PageError("too-large")
    return plain


def _word(error: BaseException) -> str | None:
    """None: it is none of the server's."""
    match error:
        case PageError(word=word):
            return word
        case TimeoutError():
            return "timeout"
        case TooLongError():
            return "too-large"
        case httptools.HttpParserError() | httptools.HttpParserUpgrade():
            return "not-http"
        case OSError():
            return "reset"
        case _:
            return None
