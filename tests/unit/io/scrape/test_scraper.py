"""The scraper against a small HTTP server: what it reports, and how often it asks."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from headgate.io.scrape.scraper import Scraper, delay, phase, stretched
from headgate.model.endpoints import Endpoint
from headgate.model.ids import EndpointId, endpoint_id
from headgate.picker.events import ModelsListed, Scraped

PAGE = "vllm:num_requests_waiting 1\nvllm:num_requests_running 2\n"


class Server:
    """A model server's two pages, that can misbehave, on one port over several lives."""

    def __init__(self) -> None:
        self.metrics: str | bytes | int | float = PAGE
        self.models: str | bytes | int = '{"data":[{"id":"m"}]}'
        self.asked: list[str] = []
        self.connections: set[object] = set()
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(endpoint_id("127.0.0.1", self.port), "127.0.0.1", self.port, "s")

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/v1/models", self._models)
        self._runner = web.AppRunner(app, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, request: web.Request) -> web.Response:
        self.asked.append("metrics")
        self.connections.add(request.transport)
        if isinstance(self.metrics, float):
            await asyncio.sleep(self.metrics)
        return self._answer(self.metrics)

    async def _models(self, request: web.Request) -> web.Response:
        self.asked.append("models")
        return self._answer(self.models)

    def _answer(self, page: str | bytes | float) -> web.Response:
        if isinstance(page, bytes):
            return web.Response(body=page)
        return web.Response(text=page) if isinstance(page, str) else web.Response(status=int(page) or 200)


class Seen:
    """What the scraper emitted, with the means to wait for more."""

    def __init__(self) -> None:
        self.events: list[Scraped | ModelsListed] = []
        self._more = asyncio.Event()

    def __call__(self, event: Scraped | ModelsListed) -> None:
        self.events.append(event)
        self._more.set()

    async def until(self, holds: Callable[[Scraped | ModelsListed], bool]) -> Scraped | ModelsListed:
        """The first event from now on that *holds*."""
        start = len(self.events)
        async with asyncio.timeout(3):
            while True:
                found = next((event for event in self.events[start:] if holds(event)), None)
                if found is not None:
                    return found
                self._more.clear()
                await self._more.wait()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    made = Server()
    await made.start()
    yield made
    await made.stop()


@asynccontextmanager
async def scraping(*endpoints: Endpoint) -> AsyncIterator[tuple[Scraper, Seen]]:
    seen = Seen()
    scraper = Scraper(seen, interval_s=0.02, timeout_s=0.15)
    scraper.update(endpoints)
    task = asyncio.create_task(scraper.run())
    try:
        yield scraper, seen
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def failed(word: str) -> Callable[[Scraped | ModelsListed], bool]:
    return lambda event: isinstance(event, Scraped) and event.error == word and event.load is None


def good(event: Scraped | ModelsListed) -> bool:
    return isinstance(event, Scraped) and event.load is not None and event.error is None


def listed(event: Scraped | ModelsListed) -> bool:
    return isinstance(event, ModelsListed)


async def test_load_and_models_are_reported_over_one_connection(server: Server) -> None:
    async with scraping(server.endpoint) as (_, seen):
        models = await seen.until(listed)
        for _ in range(5):
            scraped = await seen.until(good)
    assert isinstance(models, ModelsListed)
    assert [card.id for card in models.models] == ["m"]
    assert isinstance(scraped, Scraped)
    assert scraped.load is not None
    assert (scraped.endpoint, scraped.load.waiting, scraped.load.running) == (server.endpoint.id, 1, 2)
    assert server.asked.count("models") == 1
    assert len(server.connections) == 1


async def test_a_dead_server_is_refused_at_once_and_found_again(server: Server) -> None:
    async with scraping(server.endpoint) as (_, seen):
        await seen.until(good)
        await server.stop()
        await seen.until(failed("refused"))
        await server.start()
        await seen.until(good)
        await seen.until(listed)
    assert server.asked.count("models") == 2


@pytest.mark.parametrize(
    ("metrics", "word"),
    [(404, "http-404"), (503, "http-503"), (1.0, "timeout"), ("x 1\n", "unknown-metrics")],
)
async def test_a_failing_page_has_a_word(server: Server, metrics: str | float, word: str) -> None:
    server.metrics = metrics
    async with scraping(server.endpoint) as (_, seen):
        await seen.until(failed(word))
        if word != "timeout":  # it answers HTTP, so its models can be asked for
            await seen.until(listed)


@pytest.mark.parametrize(
    ("models", "word"),
    [
        (b'{"data":[{"id":"\xff\xfe"}]}', "garbled"),
        (b'{"x":' + b"[" * 100_000, "garbled"),
        (404, "http-404"),
        ("[]", "garbled"),
    ],
)
async def test_a_list_that_cannot_be_read_has_a_word_and_scrapes_go_on(
    server: Server, models: str | bytes | int, word: str
) -> None:
    server.models = models
    async with scraping(server.endpoint) as (_, seen):
        event = await seen.until(listed)
        await seen.until(good)
    assert isinstance(event, ModelsListed)
    assert (event.models, event.error) == ((), word)


@pytest.mark.parametrize("page", [b'vllm:num_requests_waiting{a="\xff"} 1e308\n' * 9, b"\x00" * 100_000])
async def test_a_page_of_any_bytes_leaves_the_others_alone(server: Server, page: bytes) -> None:
    other = Server()
    await other.start()
    other.metrics = page
    try:
        async with scraping(other.endpoint, server.endpoint) as (_, seen):
            for _ in range(3):
                await seen.until(lambda event: event.endpoint == other.endpoint.id)
                await seen.until(lambda event: event.endpoint == server.endpoint.id and good(event))
    finally:
        await other.stop()


async def test_whoever_cannot_take_in_one_endpoint_still_hears_of_the_others(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    other = Server()
    await other.start()
    heard: asyncio.Queue[EndpointId] = asyncio.Queue()

    def emit(event: Scraped | ModelsListed) -> None:
        heard.put_nowait(event.endpoint)
        if event.endpoint == other.endpoint.id:
            raise OverflowError("too much")

    scraper = Scraper(emit, interval_s=0.01, timeout_s=0.5)
    scraper.update([server.endpoint, other.endpoint])
    task = asyncio.create_task(scraper.run())
    counts = {server.endpoint.id: 0, other.endpoint.id: 0}
    try:
        async with asyncio.timeout(10):
            while min(counts.values()) < 3:
                counts[await heard.get()] += 1
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await other.stop()
    assert [record.message for record in caplog.records] == [
        f"a bug in Headgate: cannot take in what was asked of {other.endpoint.id}"
    ]


async def test_an_endpoint_that_left_is_not_heard_of_again(server: Server) -> None:
    async with scraping(server.endpoint) as (scraper, seen):
        await seen.until(good)
        scraper.update([], [server.endpoint.id])
        await asyncio.sleep(0.05)
        count, asked = len(seen.events), len(server.asked)
        await asyncio.sleep(0.15)
        assert (len(seen.events), len(server.asked)) == (count, asked)
        scraper.update([server.endpoint])
        await seen.until(listed)


def test_failures_are_looked_at_sooner_then_ever_later() -> None:
    delays = [delay(failures, 0.2) for failures in range(12)]
    assert delays[0] == 0.2
    assert delays[1:6] == [0.1] * 5
    assert delays[6:] == [0.4, 0.8, 1.0, 1.0, 1.0, 1.0]
    assert delay(1000, 5.0) == 5.0


async def test_only_endpoints_that_need_it_are_asked_often(server: Server) -> None:
    other = Server()
    await other.start()
    seen = Seen()
    scraper = Scraper(seen, interval_s=30.0, closely=lambda endpoint: endpoint == server.endpoint.id)
    scraper.update([server.endpoint, other.endpoint])
    task = asyncio.create_task(scraper.run())
    try:
        for _ in range(4):
            await seen.until(lambda event: event.endpoint == server.endpoint.id and good(event))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await other.stop()
    assert server.asked.count("metrics") >= 4
    assert other.asked.count("metrics") == 1


async def test_an_endpoint_that_fails_is_asked_as_often_whatever_the_interval(server: Server) -> None:
    server.metrics = 503
    seen = Seen()
    scraper = Scraper(seen, interval_s=30.0)
    scraper.update([server.endpoint])
    task = asyncio.create_task(scraper.run())
    try:
        for _ in range(3):
            await seen.until(failed("http-503"))
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def test_a_large_fleet_is_asked_less_often_but_once_a_second() -> None:
    assert [stretched(0.2, count) for count in (1, 64, 128, 320, 5000)] == [0.2, 0.2, 0.4, 1.0, 1.0]
    assert stretched(3.0, 5000) == 3.0


@pytest.mark.parametrize("first", [0, 65535])
@pytest.mark.parametrize("count", [2, 8, 128, 1000])
def test_endpoints_are_asked_evenly_over_the_interval(first: int, count: int) -> None:
    phases = sorted(phase(number) for number in range(first, first + count))
    gaps = [after - before for before, after in itertools.pairwise([*phases, phases[0] + 1.0])]
    assert 0.3 / count < min(gaps)
    assert max(gaps) < 2.0 / count


async def test_a_list_is_asked_for_out_of_turn_once_for_each_wish(server: Server) -> None:
    async with scraping(server.endpoint) as (scraper, seen):
        await seen.until(listed)
        server.models = '{"data":[{"id":"m"},{"id":"new"}]}'
        scraper.relist([server.endpoint.id, EndpointId("10.0.0.1:1")])
        again = await seen.until(listed)
        assert isinstance(again, ModelsListed)
        assert [card.id for card in again.models] == ["m", "new"]
        for _ in range(3):
            await seen.until(good)
        assert server.asked.count("models") == 2
