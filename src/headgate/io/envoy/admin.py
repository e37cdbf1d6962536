"""Talks to a running Envoy's admin: is it ready, how many requests run, drain."""

from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from headgate.io.envoy.bootstrap import EnvoyOptions

TIMEOUT_S = 2.0


class EnvoyAdmin:
    """A client of one Envoy's admin. Its methods raise OSError when nobody answers, but for `ready`."""

    def __init__(self, options: EnvoyOptions) -> None:
        """For the Envoy run with *options*; connects on each use, so that Envoy may come and go."""
        connector: aiohttp.BaseConnector
        if options.admin_port is None:
            connector = aiohttp.UnixConnector(path=str(options.admin_socket), force_close=True)
            self._base = "http://envoy"
        else:
            connector = aiohttp.TCPConnector(force_close=True)
            self._base = f"http://127.0.0.1:{options.admin_port}"
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def ready(self) -> bool:
        """Whether Envoy is live: its first clusters and listeners are there."""
        try:
            status, page = await self._call("GET", "/ready")
        except OSError:
            return False
        return status == 200 and page.startswith(b"LIVE")

    async def active_requests(self) -> int:
        """Requests that Envoy is serving to clients at this moment."""
        _, page = await self._call("GET", "/stats?filter=downstream_rq_active$&format=json")
        return count_active(page)

    async def listeners(self) -> tuple[str, ...]:
        """Addresses that Envoy listens on, `ip:port`."""
        _, page = await self._call("GET", "/listeners?format=json")
        statuses = msgspec.json.decode(page).get("listener_statuses", ())
        return tuple(_address(status) for status in statuses)

    async def drain(self) -> None:
        """Accept no new connection, and close each present one after the request that it serves."""
        await self._call("POST", "/drain_listeners?graceful&skip_exit")
        await self._call("POST", "/drain_listeners")

    async def _call(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self._base + path) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"Envoy's admin does not answer: {error!r}") from error


def count_active(page: bytes) -> int:
    """The sum of every connection manager's `downstream_rq_active` but the admin's own, from a stats page."""
    stats: list[dict[str, Any]] = msgspec.json.decode(page)["stats"]
    return sum(
        int(stat["value"])
        for stat in stats
        if str(stat.get("name", "")).startswith("http.") and not str(stat["name"]).startswith("http.admin.")
    )


def _address(status: dict[str, Any]) -> str:
    socket = status.get("local_address", {}).get("socket_address", {})
    return f"{socket.get('address', '')}:{socket.get('port_value', 0)}"
