"""The polling of a changing set of endpoints."""

import asyncio
import itertools
import logging
import random
from collections.abc import Callable, Iterable, Mapping

from headgate.engines import LoadReader
from headgate.engines.models import read_models
from headgate.io.api_keys import Keys
from headgate.io.scrape.client import DEFAULT, NONE, PageClient, PageError
from headgate.io.trust import Trust
from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId
from headgate.model.load import ModelCard
from headgate.picker.events import ModelsListed, Scraped

log = logging.getLogger(__name__)

MODELS_EVERY_S = 10.0
SLOWEST_S = 1.0
"""Between two scrapes of an endpoint that keeps failing."""
AT_REST_S = 0.5
"""Between two scrapes of an endpoint whose numbers can wait."""
CLOSELY_S = 0.2
"""Between two scrapes where a newer one may change what is decided."""
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


def _never(endpoint: EndpointId) -> bool:
    """Nobody needs newer numbers."""
    return False


class Scraper:
    """Polls `/metrics` of every endpoint each *interval_s*, those that *closely* names and those that fail at
    least each `CLOSELY_S`, and all of them less often in a large fleet (`SCRAPES_PER_S`);
    `/v1/models` on appearance, on recovery, when told to (`relist`) and every `MODELS_EVERY_S`. Each scrape
    ends in one `Scraped`, each question for the list in one `ModelsListed`.

    An endpoint whose HTTP server answers without a known metrics page is reported with `load` None and
    `http-<status>` or `unknown-metrics`; other errors are the words of `client.PageError`. Whatever else goes
    wrong is a bug of ours: it is logged, reported as `internal`, and stays with that endpoint.
    """

    def __init__(
        self,
        emit: Callable[[Scraped | ModelsListed], None],
        interval_s: float = AT_REST_S,
        timeout_s: float = 0.5,
        *,
        closely: Callable[[EndpointId], bool] = _never,
        rng: random.Random | None = None,
        trust: Trust = DEFAULT,
        keys: Keys = NONE,
    ) -> None:
        self._emit = emit
        self._interval_s = interval_s
        self._close_s = min(interval_s, CLOSELY_S)
        self._closely = closely
        self._timeout_s = timeout_s
        self._trust = trust
        self._keys = keys
        self._rng = rng or random.Random()
        self._numbers = itertools.count(self._rng.randrange(1 << 16))
        self._wanted: dict[EndpointId, Endpoint] = {}
        self._others: dict[EndpointId, None] = {}
        """Endpoints that came, changed or left and that `run` has not seen yet."""
        self._relist: set[EndpointId] = set()
        self._changed = asyncio.Event()

    def update(self, endpoints: Iterable[Endpoint], gone: Iterable[EndpointId] = ()) -> None:
        """Poll these too from now on, as they are said here, and no longer those; an endpoint that left is
        not heard of again once `run` saw it."""
        for endpoint in endpoints:
            if self._wanted.get(endpoint.id) != endpoint:
                self._wanted[endpoint.id] = endpoint
                self._others[endpoint.id] = None
        for left in gone:
            if self._wanted.pop(left, None) is not None:
                self._relist.discard(left)
                self._others[left] = None
        if self._others:
            self._changed.set()

    @property
    def wanted(self) -> Mapping[EndpointId, Endpoint]:
        """What is to be polled."""
        return self._wanted

    def relist(self, endpoints: Iterable[EndpointId]) -> None:
        """Ask these for `/v1/models` again after their next scrape."""
        self._relist |= self._wanted.keys() & set(endpoints)

    async def run(self) -> None:
        """Poll until cancelled."""
        tasks: dict[EndpointId, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                await self._changed.wait()
                self._changed.clear()
                others, self._others = self._others, {}
                for key in others:
                    if (task := tasks.pop(key, None)) is not None:
                        task.cancel()
                    if (endpoint := self._wanted.get(key)) is not None:
                        tasks[key] = group.create_task(self._watch(endpoint))

    async def _watch(self, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        client = PageClient(endpoint, self._timeout_s, self._trust, self._keys)
        asked = _Asked(client, endpoint, self._emit, self._closely)
        failures = 0
        models_due = 0.0
        begin = phase(next(self._numbers))
        due = loop.time() + (begin - 0.5) * self._interval_s
        await asyncio.sleep(begin * min(self._interval_s, FIRST_WITHIN_S))
        try:
            while True:
                began = loop.time()
                loaded, answered = await asked.scrape()
                if answered and (models_due <= began or endpoint.id in self._relist):
                    self._relist.discard(endpoint.id)
                    listed = await asked.list_models()
                    models_due = loop.time() + (MODELS_EVERY_S if listed else SLOWEST_S)
                elif not answered:
                    models_due = 0.0
                failures = 0 if loaded else failures + 1
                close = failures > 0 or asked.closely()
                interval_s = self._close_s if close else self._interval_s
                pause = delay(failures, stretched(interval_s, len(self._wanted)))
                now = loop.time()
                due = max(due + pause, now)
                if close:  # it waits for no beat of its own
                    due = min(due, now + pause)
                await asyncio.sleep(due - now + JITTER * pause * self._rng.random())
        finally:
            asked.close()


class _Asked:
    """One endpoint that is asked. What goes wrong with it stays with it."""

    def __init__(
        self,
        client: PageClient,
        endpoint: Endpoint,
        emit: Callable[[Scraped | ModelsListed], None],
        closely: Callable[[EndpointId], bool],
    ) -> None:
        self._id = endpoint.id
        self._client = client
        self._reader = LoadReader()
        self._emit = emit
        self._closely = closely
        self._last_bug = ""

    def close(self) -> None:
        """Close its connection."""
        self._client.close()

    def closely(self) -> bool:
        """Whether newer numbers are wanted soon."""
        try:
            return self._closely(self._id)
        except Exception as bug:
            self._internal("look after the scrapes", bug)
            return True

    async def scrape(self) -> tuple[bool, bool]:
        """Emit a `Scraped`. Whether it has a load, and whether an HTTP server answered."""
        load, error, answered = None, None, True
        try:
            load = self._reader.read(await self._client.get("/metrics"))
            error = None if load is not None else "unknown-metrics"
        except PageError as failure:
            error, answered = failure.word, failure.answered
        except Exception as bug:
            error = self._internal("read the metrics", bug)
        return self._tell(Scraped(self._id, load, error)) and load is not None, answered

    async def list_models(self) -> bool:
        """Emit a `ModelsListed`. Whether it has a list."""
        models: tuple[ModelCard, ...] = ()
        error = None
        try:
            models = read_models(await self._client.get("/v1/models"))
        except PageError as failure:
            error = failure.word
        except ValueError:
            error = "garbled"
        except Exception as bug:
            error = self._internal("read the model list", bug)
        return self._tell(ModelsListed(self._id, models, error)) and error is None

    def _tell(self, event: Scraped | ModelsListed) -> bool:
        """False: whoever takes it in failed."""
        try:
            self._emit(event)
        except Exception as bug:
            self._internal("take in what was asked", bug)
            return False
        return True

    def _internal(self, doing: str, bug: Exception) -> str:
        """A bug of ours, told once and not at every scrape; the word for it."""
        if repr(bug) != self._last_bug:
            self._last_bug = repr(bug)
            log.error("a bug in Headgate: cannot %s of %s", doing, self._id, exc_info=bug)
        return "internal"
