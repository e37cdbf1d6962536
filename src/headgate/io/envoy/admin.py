"""Talks to a running Envoy's admin: is it ready, how many requests run, drain."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
import msgspec

from headgate.io.envoy.bootstrap import EnvoyOptions

TIMEOUT_S = 2.0

_OWN_ANSWERS = r"^headgate\.answers\.listener\."
_RUNNING = "downstream_(rq_active|cx_tx_bytes_buffered)$"


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
        page = await self._page("GET", f"/stats?filter={_RUNNING}&format=json")
        try:
            return count_active(page)
        except (msgspec.DecodeError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise OSError(f"Envoy's admin does not tell its statistics: {error!r}") from error

    async def own_answers(self) -> Mapping[tuple[str, str], int]:
        """Errors that no server gave, by listener and reason, since this Envoy started."""
        page = await self._page("GET", f"/stats?filter={_OWN_ANSWERS}&format=json")
        try:
            return count_by_tags(page)
        except (msgspec.DecodeError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise OSError(f"Envoy's admin does not tell its statistics: {error!r}") from error

    async def listeners(self) -> tuple[str, ...]:
        """Addresses that Envoy listens on, `ip:port`."""
        statuses = msgspec.json.decode(await self._page("GET", "/listeners?format=json"))
        return tuple(_address(status) for status in statuses.get("listener_statuses", ()))

    async def drain(self) -> None:
        """Accept no new connection, and close each present one after the request that it serves.

        Load balancers that ask for the health on a connection that they have are answered with 503.
        """
        await self._page("POST", "/healthcheck/fail")
        await self._page("POST", "/drain_listeners?graceful&skip_exit")
        await self._page("POST", "/drain_listeners")

    async def _page(self, method: str, path: str) -> bytes:
        status, page = await self._call(method, path)
        if status != 200:
            raise OSError(f"Envoy's admin answers {path} with {status}")
        return page

    async def _call(self, method: str, path: str) -> tuple[int, bytes]:
        try:
            async with self._session.request(method, self._base + path) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise OSError(f"Envoy's admin does not answer: {error!r}") from error


def count_active(page: bytes) -> int:
    """Running requests of every connection manager but the admin's own, from a page of statistics.

    A manager whose requests are over and whose clients have not been sent all of the answers counts as one.

    Raises:
        msgspec.DecodeError, AttributeError, LookupError, TypeError, ValueError: it is no such page.
    """
    stats: list[dict[str, Any]] = msgspec.json.decode(page)["stats"]
    active: dict[str, int] = {}
    waiting: set[str] = set()
    for stat in stats:
        manager, _, what = str(stat.get("name", "")).rpartition(".")
        if not manager.startswith("http.") or manager == "http.admin":
            continue
        if what == "downstream_rq_active":
            active[manager] = int(stat["value"])
        elif what == "downstream_cx_tx_bytes_buffered" and int(stat["value"]):
            waiting.add(manager)
    return sum(active.values()) + sum(1 for manager in waiting if not active.get(manager))


def count_by_tags(page: bytes) -> Mapping[tuple[str, str], int]:
    """Counters by the values of their two tags, from a page of statistics.

    Their names end with `.TAG.VALUE.TAG.VALUE`; no value has a dot.

    Raises:
        msgspec.DecodeError, AttributeError, LookupError, TypeError, ValueError: it is no such page.
    """
    stats: list[dict[str, Any]] = msgspec.json.decode(page)["stats"]
    found: dict[tuple[str, str], int] = {}
    for stat in stats:
        if "name" in stat:
            *_, first, _, second = str(stat["name"]).split(".")
            found[first, second] = int(stat["value"])
    return found


def _address(status: dict[str, Any]) -> str:
    socket = status.get("local_address", {}).get("socket_address", {})
    return f"{socket.get('address', '')}:{socket.get('port_value', 0)}"
