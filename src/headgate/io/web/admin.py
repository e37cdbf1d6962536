"""The admin API's HTTP: read-only JSON over loopback or a Unix socket, and a client for the latter.

What it says comes from handlers; which paths there are is the caller's table.
"""

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from headgate.io.unix import private_socket
from headgate.model.printable import printable_json

MAX_REPLY_BYTES = 32 << 20
"""Longest answer taken from another process."""

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


def is_loopback(host: str) -> bool:
    """Whether *host*, as an option names it, is this machine's own."""
    return host == "::1" or host in LOOPBACK_NAMES


class Reply(msgspec.Struct, frozen=True):
    """An answer: a status and a document, JSON unless said otherwise."""

    status: int
    body: bytes
    content_type: str = "application/json"


Handler = Callable[[Mapping[str, str]], Awaitable[Reply]]
"""Takes the path's variables and the query's, answers."""


def reply(content: Any, status: int = 200) -> Reply:
    """*content* as JSON that steers no terminal."""
    plain = msgspec.to_builtins(content, str_keys=True)  # priorities are keys, too
    return Reply(status, printable_json(msgspec.json.encode(plain, order="deterministic")).encode())


def failure(status: int, code: str, message: str) -> Reply:
    """An error in the shape that every error of the admin API has."""
    return reply({"error": {"code": code, "message": message}}, status)


class AdminServer:
    """Serves a table of GET paths. A Host that is no loopback name is refused (DNS rebinding)."""

    def __init__(self, routes: Mapping[str, Handler], *, any_host: bool = False) -> None:
        """Serve *routes* (aiohttp path patterns); *any_host* for addresses that are meant to be reached."""
        guards = [] if any_host else [loopback_names_only]
        app = web.Application(middlewares=[*guards, _errors], client_max_size=1024)
        for path, handler in routes.items():
            app.router.add_get(path, _adapter(handler))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        self._ready = False

    async def listen(self, host: str, port: int) -> int:
        """Listen on a TCP port (0: any free one); the port. Raises OSError when it is taken."""
        await self._set_up()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        return int(self._runner.addresses[-1][1])

    async def listen_unix(self, path: Path) -> None:
        """Listen on a Unix socket that only this user can use, replacing a stale one.

        Raises OSError when it cannot be bound.
        """
        await self._set_up()
        with private_socket(path):
            await web.UnixSite(self._runner, path).start()

    async def close(self) -> None:
        """Stop listening."""
        await self._runner.cleanup()

    async def _set_up(self) -> None:
        if not self._ready:
            await self._runner.setup()
            self._ready = True


Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def loopback_names_only(request: web.Request, handler: Next) -> web.StreamResponse:
    """Refuses a Host that is no loopback name: some page's own name that leads here (DNS rebinding)."""
    if host_name(request.host) not in LOOPBACK_NAMES:
        return _response(failure(403, "forbidden-host", "ask by a loopback name, such as localhost"))
    return await handler(request)


@web.middleware
async def _errors(request: web.Request, handler: Next) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return _response(failure(404, "unknown-path", f"there is no {request.path}"))
    except web.HTTPMethodNotAllowed:
        return _response(failure(405, "read-only", "this API only answers GET"))


def host_name(host: str) -> str:
    """The name in a Host header, without the port; IPv6 keeps its brackets."""
    name, colon, port = host.rpartition(":")
    return name.lower() if colon and port.isdigit() else host.lower()


async def fetch(socket: Path, path: str, timeout_s: float = 2.0) -> Reply:
    """GET *path* from the admin API on a Unix socket. Raises OSError when it does not answer in time."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        connector = aiohttp.UnixConnector(path=str(socket))
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.get(f"http://localhost{path}") as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_REPLY_BYTES:
                    raise OSError(f"{socket.name} answers too much")
            return Reply(response.status, bytes(body))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise OSError(f"{socket.name} does not answer: {error!r}") from error


def _adapter(handler: Handler) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        return _response(await handler({**request.query, **request.match_info}))

    return answer


def _response(answer: Reply) -> web.Response:
    headers = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
    return web.Response(
        status=answer.status, body=answer.body, content_type=answer.content_type, headers=headers
    )
