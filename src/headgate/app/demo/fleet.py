"""What the demo shows of each replica, read from its own metrics page."""

import asyncio
from collections.abc import Sequence

import aiohttp
import msgspec

from headgate.engines import read_load
from headgate.engines.exposition import Extractor

_QUERIES, _HITS = "vllm:prefix_cache_queries_total", "vllm:prefix_cache_hits_total"
_PREFIX = Extractor((_QUERIES, _HITS))


class ReplicaNow(msgspec.Struct, frozen=True, kw_only=True):
    """One replica at a moment; None where it did not answer."""

    name: str
    endpoint: str
    """`ip:port`."""
    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    hit_rate: float | None = None
    """Share of prompt tokens found in its prefix cache since it started, 0..1; None before the first."""


def read_page(name: str, endpoint: str, page: bytes) -> ReplicaNow:
    """What a metrics *page* says."""
    load, samples = read_load(page), _PREFIX.samples(page)
    queries = sum(sample.value for sample in samples.get(_QUERIES, ()))
    hits = sum(sample.value for sample in samples.get(_HITS, ()))
    if load is None:
        return ReplicaNow(name=name, endpoint=endpoint)
    return ReplicaNow(
        name=name,
        endpoint=endpoint,
        running=load.running,
        waiting=load.waiting,
        kv_used=load.kv_used,
        hit_rate=hits / queries if queries else None,
    )


async def look(session: aiohttp.ClientSession, urls: Sequence[str]) -> tuple[ReplicaNow, ...]:
    """All replicas at *urls* now."""
    return tuple(await asyncio.gather(*(_look(session, f"replica-{i}", url) for i, url in enumerate(urls))))


async def _look(session: aiohttp.ClientSession, name: str, url: str) -> ReplicaNow:
    endpoint = url.removeprefix("http://")
    try:
        async with session.get(f"{url}/metrics", timeout=aiohttp.ClientTimeout(total=1.0)) as response:
            return read_page(name, endpoint, await response.read())
    except (aiohttp.ClientError, TimeoutError):
        return ReplicaNow(name=name, endpoint=endpoint)
