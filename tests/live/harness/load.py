"""A closed loop of clients of a gateway, and what each of their requests met."""

import asyncio
import collections
import time
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

MODEL = "demo-model"
"""The model that the requests ask for."""


class Seen(msgspec.Struct):
    """What one client request met."""

    started: float
    ended: float
    status: int | None
    """None: no response headers ever came."""
    broken: bool
    """True when a response began and then broke off."""
    endpoint: str | None
    decision: str | None
    reason: str | None = None
    """`x-headgate-reason` of a refusal."""


async def one(http: aiohttp.ClientSession, url: str, stream: bool = True, tokens: int = 20) -> Seen:
    """One completion of *tokens* tokens."""
    started = time.monotonic()
    status, endpoint, decision, reason = None, None, None, None
    body = {
        "model": MODEL,
        "prompt": f"tell me {started}",
        "max_tokens": tokens,
        "ignore_eos": True,
        "stream": stream,
    }
    try:
        async with http.post(url + "/v1/completions", json=body) as answer:
            status = answer.status
            endpoint = answer.headers.get("x-headgate-endpoint")
            decision = answer.headers.get("x-headgate-decision")
            reason = answer.headers.get("x-headgate-reason")
            text = await answer.read()
            broken = status == 200 and stream and b"[DONE]" not in text
    except aiohttp.ClientError:
        broken = status is not None
    return Seen(started, time.monotonic(), status, broken, endpoint, decision, reason)


async def load(
    url: str,
    during: Callable[[], Awaitable[None]],
    clients: int = 12,
    stream: bool = True,
    tokens: int = 20,
    *,
    any_certificate: bool = False,
) -> list[Seen]:
    """Closed loop of *clients* for as long as *during* runs, and two rounds after."""
    seen: list[Seen] = []
    stop = asyncio.Event()

    async def client(http: aiohttp.ClientSession) -> None:
        while not stop.is_set():
            seen.append(await one(http, url, stream, tokens))
            if seen[-1].status is None:
                await asyncio.sleep(0.05)

    async with (
        aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=60),
            connector=aiohttp.TCPConnector(limit=0, ssl=not any_certificate),
        ) as http,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(clients):
            group.create_task(client(http))
        await during()
        stop.set()
    return seen


def summary(what: str, seen: list[Seen]) -> None:
    """Print how many requests met what."""
    counts = collections.Counter(
        " ".join(
            str(part)
            for part in (one.status or "no answer", one.reason, "broken off" if one.broken else None)
            if part
        )
        for one in seen
    )
    print(f"\n{what}: {len(seen)} requests: {dict(sorted(counts.items()))}")
