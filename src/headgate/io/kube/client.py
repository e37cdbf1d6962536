"""Requests to an API server: lists page by page, watches line by line, writes. Nothing is retried here."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Literal, Self

import aiohttp
import msgspec

from headgate.io.kube.config import Access

Json = Mapping[str, Any]

REQUEST_S = 30.0
"""Longest time for a whole answer; a list is asked for in pages, so that none takes long."""

PAGE = 500
"""Objects of a page of a list; of a tenth of it, where these are too long an answer."""

MAX_BYTES = 16 << 20
"""Of one answer, and of one line of a watch; etcd's own objects end at 1.5 MB."""

TOO_LARGE = "TooLarge"
"""Reason of an ApiError: an answer of more than MAX_BYTES."""

KEEPALIVE = ((socket.TCP_KEEPIDLE, 15), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 3))
"""A server that vanished without a word is noticed after half a minute."""

MANAGER = "headgate-controller"
"""Who the fields that we write belong to."""

METADATA_ONLY = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

Patch = Literal["merge", "apply"]
_PATCH_TYPES: Mapping[Patch, str] = {
    "merge": "application/merge-patch+json",
    "apply": "application/apply-patch+yaml",
}


class ApiError(Exception):
    """The server's no, or none at all; the message says what was asked, and what came."""

    def __init__(self, status: int, reason: str, message: str, retry_after_s: float | None = None) -> None:
        """*status*: of HTTP, 0 when no answer came. *reason*: Kubernetes', such as `Conflict`."""
        super().__init__(message)
        self.status, self.reason, self.retry_after_s = status, reason, retry_after_s

    @property
    def gone(self) -> bool:
        """What was asked for from a resourceVersion on is no longer known: list anew."""
        return self.status == 410 or self.reason in ("Gone", "Expired")


class Collection(msgspec.Struct, frozen=True, order=True):
    """Objects of one kind in one version."""

    group: str
    version: str
    plural: str

    @property
    def root(self) -> str:
        """Path of the version."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    @property
    def api_version(self) -> str:
        """As objects have it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """Of the whole collection, of a namespace's part, or of one object."""
        inside = f"/namespaces/{namespace}" if namespace else ""
        named = f"/{name}" if name else ""
        return f"{self.root}{inside}/{self.plural}{named}{f'/{sub}' if sub else ''}"

    def __str__(self) -> str:
        """As RBAC rules name it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural


class Watched(msgspec.Struct, frozen=True):
    """One line of a watch."""

    type: str
    """ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""
    object: Any


class KubeClient:
    """A session with one API server; usable while its context lasts."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open. Raises ConfigError when the certificates cannot be used."""
        tls = await asyncio.to_thread(self.access.tls)
        connector = aiohttp.TCPConnector(
            limit=0, ssl=True if tls is None else tls, socket_factory=_patient_socket
        )
        self._http = aiohttp.ClientSession(
            connector=connector, headers={"user-agent": MANAGER}, auto_decompress=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection."""
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def get(self, path: str, params: Mapping[str, str] | None = None, accept: str = "") -> Any:
        """What is there, JSON. Raises ApiError."""
        return await self._ask("GET", path, params, accept=accept)

    async def find(self, path: str) -> Any:
        """What is there, JSON; None: nothing is. Raises ApiError."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.status != 404:
                raise
            return None

    async def create(self, path: str, body: Json) -> Any:
        """POST an object to its collection. Raises ApiError."""
        return await self._ask("POST", path, None, msgspec.json.encode(body), "application/json")

    async def replace(self, path: str, body: Json) -> Any:
        """PUT an object; its resourceVersion must be the current one. Raises ApiError."""
        return await self._ask("PUT", path, None, msgspec.json.encode(body), "application/json")

    async def patch(
        self, path: str, body: Json, kind: Patch, *, force: bool = False, manager: str = MANAGER
    ) -> Any:
        """Change parts of an object; `apply` makes it where it is not there. *manager*: who owns the fields
        then. Raises ApiError."""
        params = {"fieldManager": manager}
        if force:
            params["force"] = "true"
        return await self._ask("PATCH", path, params, msgspec.json.encode(body), _PATCH_TYPES[kind])

    async def delete(self, path: str) -> None:
        """Take an object away, what it owns in the background. Raises ApiError."""
        await self._ask("DELETE", path, {"propagationPolicy": "Background"})

    async def pages(
        self, path: str, params: Mapping[str, str], accept: str = ""
    ) -> AsyncGenerator[tuple[list[Any], str], None]:
        """The objects of a list, some at a time, each time with its resourceVersion. Raises ApiError."""
        size, on = PAGE, ""
        while True:
            asked = {**params, "limit": str(size), **({"continue": on} if on else {})}
            try:
                found = await self.get(path, asked, accept)
            except ApiError as error:
                if error.reason != TOO_LARGE or size == 1:
                    raise
                size = max(1, size // 10)
                continue
            meta = found.get("metadata") if isinstance(found, Mapping) else None
            items = found.get("items") if isinstance(found, Mapping) else None
            if not isinstance(meta, Mapping) or not isinstance(items, list | None):
                raise ApiError(0, "BadAnswer", f"GET {path}: the answer is no list")
            yield items or [], str(meta.get("resourceVersion", ""))
            on = str(meta.get("continue") or "")
            if not on:
                return

    async def watch(
        self, path: str, params: Mapping[str, str], longest_s: float, accept: str = ""
    ) -> AsyncGenerator[Watched, None]:
        """What happens from a resourceVersion on, until the server ends it, after *longest_s* at most.

        Raises ApiError.
        """
        asked = {
            **params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(max(1, round(longest_s))),
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=longest_s + 15)
        with _as_api_errors(f"watch {path}"):
            async with self._session.request(
                "GET",
                self._url(path),
                params=asked,
                headers=await self._headers(accept),
                timeout=timeout,
                server_hostname=self.access.server_name or None,
            ) as answer:
                if answer.status >= 400:
                    raise _refusal(f"watch {path}", answer.status, await _body(answer), answer.headers)
                rest = bytearray()
                async for chunk in answer.content.iter_any():
                    rest += chunk
                    *lines, rest = rest.split(b"\n")
                    for line in lines:
                        if line.strip():
                            yield _event(path, bytes(line))
                    if len(rest) > MAX_BYTES:
                        raise ApiError(0, TOO_LARGE, f"watch {path}: a line without an end")

    @property
    def _session(self) -> aiohttp.ClientSession:
        assert self._http is not None, "to be used inside its context"
        return self._http

    def _url(self, path: str) -> str:
        return f"{self.access.server}{path}"

    async def _headers(self, accept: str = "", content: str = "") -> dict[str, str]:
        headers = {"accept": accept or "application/json"}
        if content:
            headers["content-type"] = content
        try:
            token = (
                await asyncio.to_thread(self.access.bearer) if self.access.token_file else self.access.token
            )
        except OSError as error:
            raise ApiError(0, "NoToken", f"the token's file cannot be read: {error.strerror}") from None
        if token:
            headers["authorization"] = f"Bearer {token}"
        return headers

    async def _ask(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None,
        body: bytes | None = None,
        content: str = "",
        accept: str = "",
    ) -> Any:
        what = f"{method} {path}"
        with _as_api_errors(what):
            async with self._session.request(
                method,
                self._url(path),
                params=params,
                data=body,
                headers=await self._headers(accept, content),
                timeout=aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=10),
                server_hostname=self.access.server_name or None,
            ) as answer:
                found = await _body(answer)
                if answer.status >= 400:
                    raise _refusal(what, answer.status, found, answer.headers)
                try:
                    return msgspec.json.decode(found)
                except (msgspec.DecodeError, RecursionError):
                    raise ApiError(0, "BadAnswer", f"{what}: the answer is no JSON") from None


@contextlib.contextmanager
def _as_api_errors(what: str) -> Any:
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        said = str(error) or type(error).__name__
        raise ApiError(0, "Unreachable", f"{what}: {said}") from None


async def _body(answer: aiohttp.ClientResponse) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_any():
        found += chunk
        if len(found) > MAX_BYTES:
            raise ApiError(0, TOO_LARGE, f"an answer is longer than {MAX_BYTES >> 20} MiB")
    return bytes(found)


def _event(path: str, line: bytes) -> Watched:
    try:
        found = msgspec.json.decode(line, type=Watched)
    except (msgspec.MsgspecError, RecursionError):
        raise ApiError(0, "BadAnswer", f"watch {path}: a line is no event") from None
    if found.type == "ERROR":
        status = found.object if isinstance(found.object, Mapping) else {}
        raise _status(f"watch {path}", status, 0, None)
    return found


def _refusal(what: str, status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    found: Any = None
    with contextlib.suppress(msgspec.DecodeError, RecursionError):
        found = msgspec.json.decode(body)
    after: float | None = None
    with contextlib.suppress(ValueError):
        after = min(300.0, max(0.0, float(headers.get("Retry-After", ""))))
    return _status(what, found if isinstance(found, Mapping) else {}, status, after)


def _status(what: str, found: Mapping[str, Any], status: int, after: float | None) -> ApiError:
    code = found.get("code")
    number = status or (code if isinstance(code, int) else 0)
    said = str(found.get("message") or f"HTTP {number}")[:1_000]
    return ApiError(number, str(found.get("reason") or ""), f"{what}: {said}", after)


def _patient_socket(address: tuple[Any, Any, int, str, Any]) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in KEEPALIVE:
        made.setsockopt(socket.IPPROTO_TCP, option, value)
    return made
