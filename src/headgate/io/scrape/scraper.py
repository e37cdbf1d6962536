"""The polling of a changing set of endpoints."""

import asyncio
import itertools
import random
from collections.abc import Callable, Iterable

import msgspec

from headgate.engines import LoadReader
from headgate.engines.models import read_models
from headgate.io.scrape.client import PageClient, PageError
from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId
from headgate.model.load import Load
from headgate.picker.events import ModelsListed, Scraped

MODELS_EVERY_S = 10.0
SLOWEST_S = 1.0
"""Between two scrapes of an endpoint that keeps failing."""
EAGER_FAILURES = 5
"""So many failed scrapes come at twice the usual pace, then ever slower: a restart is seen soon."""
FIRST_WITHIN_S = 0.05
"""A fleet is not asked in one burst, nor waited for long."""
SCRAPES_PER_S = 320
"""Of all endpoints together, at most: in larger fleets the interval grows, up to `SLOWEST_S`."""
JITTER = 0.2
"""A scrape comes late by up to this share of the pause before it; its successors keep their beat."""


def phase(number: int) -> float:
    """Where in each interval endpoint *number* is asked, 0..1: evenly spread, however many there are."""
    return number * 0.6180339887498949 % 1.0  # the golden ratio


def stretched(interval_s: float, endpoints: int) -> float:
    """The interval for so many endpoints."""
    return max(interval_s, min(SLOWEST_S, endpoints / SCRAPES_PER_S))


def delay(failures: int, interval_s: float) -> float:
    """Seconds until the next scrape after *failures* failed ones in a row (0: the last one succeeded)."""
    if failures == 0:
        return interval_s
    if failures <= EAGER_FAILURES:
        return interval_s / 2
    return max(interval_s, min(SLOWEST_S, interval_s * 2.0 ** min(failures - EAGER_FAILURES, 16)))


class Scraper:
    """Polls `/metrics` of every endpoint each *interval_s*, in a large fleet less often (`SCRAPES_PER_S`);
    `/v1/models` on appearance, on recovery and every `MODELS_EVERY_S`. Each scrape ends in one `Scraped`,
    each list that came in one `ModelsListed`.

    An endpoint whose HTTP server answers without a known metrics page is reported with `load` None and
    `http-<status>` or `unknown-metrics`; other errors are the words of `client.PageError`.
    """

    def __init__(
        self,
        emit: Callable[[Scraped | ModelsListed], None],
        interval_s: float = 0.2,
        timeout_s: float = 0.5,
        rng: random.Random | None = None,
    ) -> None:
        self._emit = emit
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._rng = rng or random.Random()
        self._numbers = itertools.count(self._rng.randrange(1 << 16))
        self._wanted: dict[EndpointId, Endpoint] = {}
        self._changed = asyncio.Event()

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Poll exactly these from now on; an endpoint that left is not heard of again once `run` saw it."""
        self._wanted = {endpoint.id: endpoint for endpoint in endpoints}
        self._changed.set()

    async def run(self) -> None:
        """Poll until cancelled."""
        watched: dict[EndpointId, tuple[Endpoint, asyncio.Task[None]]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                for key, (endpoint, task) in list(watched.items()):
                    if self._wanted.get(key) != endpoint:
                        task.cancel()
                        del watched[key]
                for key, endpoint in self._wanted.items():
                    if key not in watched:
                        watched[key] = (endpoint, group.create_task(self._watch(endpoint)))

    async def _watch(self, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        client = PageClient(endpoint, self._timeout_s)
        reader = LoadReader()
        failures = 0
        models_due = 0.0
        begin = phase(next(self._numbers))
        due = loop.time() + (begin - 0.5) * self._interval_s
        await asyncio.sleep(begin * min(self._interval_s, FIRST_WITHIN_S))
        try:
            while True:
                began = loop.time()
                load, error, answered = await self._scrape(client, reader)
                self._emit(Scraped(endpoint.id, load, error))
                if answered and models_due <= began:
                    listed = await self._list_models(client, endpoint)
                    models_due = loop.time() + (MODELS_EVERY_S if listed else SLOWEST_S)
                elif not answered:
                    models_due = 0.0
                failures = 0 if load is not None else failures + 1
                pause = delay(failures, stretched(self._interval_s, len(self._wanted)))
                now = loop.time()
                due = max(due + pause, now)
                await asyncio.sleep(due - now + JITTER * pause * self._rng.random())
        finally:
            client.close()

    async def _scrape(self, client: PageClient, reader: LoadReader) -> tuple[Load | None, str | None, bool]:
        """Load, error, and whether an HTTP server answered."""
        try:
            load = reader.read(await client.get("/metrics"))
        except PageError as failure:
            return None, failure.word, failure.answered
        return load, None if load is not None else "unknown-metrics", True

    async def _list_models(self, client: PageClient, endpoint: Endpoint) -> bool:
        """Whether the list came, and was emitted."""
        try:
            models = read_models(await client.get("/v1/models"))
        except (PageError, msgspec.DecodeError):
            return False
        self._emit(ModelsListed(endpoint.id, models))
        return True
