"""Asks a running gateway what a client would: does each pool's picker answer, does each port."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from headgate.model.headers import DECISION, HEALTH_PATH, POOL, REASON

TIMEOUT_S = 10.0
"""Longest wait for one answer; Envoy gives up earlier, after the picker's timeout."""

MODELS_S = 2.0
"""The same for a list of models, which a model server may have to give."""

AT_ONCE = 16

UNPICKED = frozenset({"picker-failed", "unknown-pool"})
"""Reasons of answers that no picker gave."""


class Served(msgspec.Struct, frozen=True):
    """What a gateway says it serves, as far as it can be asked for an answer."""

    pools: tuple[str, ...] = ()
    """Pools of our own picker that have endpoints."""
    ports: tuple[int, ...] = ()
    """Ports of its listeners, but for TLS ports and those that Envoy refused."""
    all_own: bool = True
    """No pool has another vendor's picker."""


def served(status: Mapping[str, Any]) -> Served:
    """Reads the controller's status."""
    summary = status.get("summary") or {}
    pools = summary.get("pools", ())
    refused = {
        each["place"]["object"] for each in status.get("problems", ()) if each["reason"] == "RefusedByEnvoy"
    }
    listeners = summary.get("listeners", ())
    ports = {int(each["port"]) for each in listeners if each.get("scheme", "http") == "http"}
    return Served(
        pools=tuple(each["key"] for each in pools if each["endpoints"] and each["picker"] is None),
        ports=tuple(sorted(port for port in ports if f"listener port-{port}" not in refused)),
        all_own=all(each["picker"] is None for each in pools),
    )


_ASKER = {"user-agent": "headgate"}
"""Who asks, in the access log."""


class Probe:
    """A client of one gateway."""

    def __init__(self, socket: Path, host: str) -> None:
        """*socket* is Envoy's for probes; *host* the address that the gateway's listeners bind."""
        self._socket = socket
        self._host = reachable(host)

    async def unanswered(self, pools: Sequence[str]) -> list[str]:
        """Those of *pools* that do not answer now, asked at once."""
        connector = aiohttp.UnixConnector(path=str(self._socket), limit=AT_ONCE, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_read=TIMEOUT_S)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            answered = await asyncio.gather(*(_answers(session, pool) for pool in pools))
        return [pool for pool, answer in zip(pools, answered, strict=True) if not answer]

    async def closed(self, ports: Sequence[int]) -> list[int]:
        """Those of *ports* on which a request is not answered by the gateway now."""
        found = await asyncio.gather(*(self._get(port, HEALTH_PATH) for port in ports))
        return [port for port, answer in zip(ports, found, strict=True) if answer is None or answer[0] != 200]

    async def models(self, port: int) -> list[str] | None:
        """The names that the gateway lists on *port*; None while the request meets no picker or nobody.

        A model server that takes its time is not waited for: then no name is known.
        """
        try:
            async with asyncio.timeout(MODELS_S):
                answer = await self._get(port, "/v1/models")
        except TimeoutError:
            return []
        if answer is None or answer[1].get(REASON) in UNPICKED or answer[1].get(DECISION) == "fallback":
            return None
        return listed(answer[2]) if answer[0] == 200 else []

    async def _get(self, port: int, path: str) -> tuple[int, Mapping[str, str], Any] | None:
        """Status, headers and JSON (None: none) of an answer; None when there is no answer. Where a redirect
        leads is not looked at: it may be any server of the world."""
        url = f"http://{self._host}:{port}{path}"
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_S)) as session,
                session.get(url, headers=_ASKER, allow_redirects=False) as answer,
            ):
                return answer.status, answer.headers, await _json(answer)
        except (aiohttp.ClientError, TimeoutError):
            return None


def reachable(host: str) -> str:
    """The address by which this machine reaches a listener that binds *host*, as URLs write it."""
    known = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}
    return known.get(host, f"[{host}]" if ":" in host else host)


def listed(page: Any) -> list[str]:
    """The names in a list of models; empty for anything else."""
    cards = page.get("data") if isinstance(page, dict) else None
    return [
        card["id"]
        for card in (cards if isinstance(cards, list) else ())
        if isinstance(card, dict) and isinstance(card.get("id"), str)
    ]


async def _answers(session: aiohttp.ClientSession, pool: str) -> bool:
    try:
        async with session.get(f"http://probe{HEALTH_PATH}", headers={POOL: pool}) as answer:
            return answer.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _json(answer: aiohttp.ClientResponse) -> Any:
    try:
        return await answer.json()
    except (aiohttp.ClientError, ValueError):
        return None
