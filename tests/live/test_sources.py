"""Scraper, probe and live source against `headgate fleet` in another process, with its faults."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.live.harness.fleet import Replicas, replicas
from tests.resolved import resolve_pools

from headgate.io.scrape import Scraper
from headgate.io.sources.api import open_source
from headgate.io.sources.probe import probe
from headgate.model.endpoints import Endpoint
from headgate.model.ids import endpoint_id
from headgate.model.snapshot import Snapshot, difference, held, take
from headgate.model.store import Store
from headgate.picker.events import ModelsListed, Scraped

pytestmark = pytest.mark.live

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
Event = Scraped | ModelsListed


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(2, "--lora", "sql") as started:
        yield started


def endpoint(fleet: Replicas, number: int) -> Endpoint:
    ip, port = fleet.endpoint(number).split(":")
    return Endpoint(endpoint_id(ip, int(port)), ip, int(port), f"replica-{number}")


class Ear:
    """Hears the scraper's events."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()

    def __call__(self, event: Event) -> None:
        self._events.put_nowait(event)

    async def first(self, holds: Callable[[Event], bool], within_s: float = 30.0) -> None:
        """Until an event *holds*, those that wait unheard left out."""
        while not self._events.empty():
            self._events.get_nowait()
        async with asyncio.timeout(within_s):
            while not holds(await self._events.get()):
                pass


@asynccontextmanager
async def scraping(*endpoints: Endpoint) -> AsyncIterator[Ear]:
    ear = Ear()
    scraper = Scraper(ear)
    scraper.update(endpoints)
    task = asyncio.create_task(scraper.run())
    try:
        yield ear
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def good(event: Event) -> bool:
    return isinstance(event, Scraped) and event.load is not None and event.load.engine == "vllm"


@pytest.mark.parametrize(
    ("kind", "word"), [("crash", "refused"), ("hang-all", "timeout"), ("no-metrics", "http-404")]
)
async def test_a_fault_is_told_and_its_end(fleet: Replicas, kind: str, word: str) -> None:
    async with scraping(endpoint(fleet, 0)) as ear:
        await ear.first(good)
        await asyncio.to_thread(fleet.fault, 0, kind)
        await ear.first(lambda event: isinstance(event, Scraped) and event.error == word)
        await asyncio.to_thread(fleet.fault, 0, "recover")
        await ear.first(good)


async def test_models_are_listed_again_after_a_crash(fleet: Replicas) -> None:
    def listed(event: Event) -> bool:
        return isinstance(event, ModelsListed) and [card.id for card in event.models] == [MODEL, "sql"]

    async with scraping(endpoint(fleet, 0)) as ear:
        await ear.first(listed)
        await asyncio.to_thread(fleet.fault, 0, "crash")
        await ear.first(lambda event: isinstance(event, Scraped) and event.error == "refused")
        await asyncio.to_thread(fleet.fault, 0, "recover")
        await ear.first(listed)


async def test_a_probe_tells_what_the_server_is(fleet: Replicas) -> None:
    found = await probe(fleet.urls[1])
    assert (found.ok, found.engine, found.error) == (True, "vllm", None)
    assert [card.id for card in found.models] == [MODEL, "sql"]
    assert found.kv_tokens == pytest.approx(434_000, abs=16)
    assert found.max_model_len
    assert found.version


async def test_urls_and_files_become_one_pool_each(fleet: Replicas, tmp_path: Path) -> None:
    host = fleet.urls[1].replace("127.0.0.1", "localhost")
    (tmp_path / "pool.yaml").write_text(f"""\
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {{name: files}}
spec: {{selector: {{matchLabels: {{app: x}}}}, targetPorts: [{{number: 8000}}]}}
---
apiVersion: headgate.dev/v1alpha1
kind: ModelServer
metadata: {{name: one, labels: {{app: x}}}}
spec: {{url: {host}}}
""")
    changes, world = open_source([tmp_path], [fleet.urls[0]]).changes(), Store({})
    try:
        async with asyncio.timeout(60):
            while not world.table("addresses"):  # on a busy machine they come later
                news = await anext(changes)
                take(world, difference(held(world), news) if isinstance(news, Snapshot) else news)
    finally:
        await changes.aclose()
    snapshot = held(world)
    pools, problems = resolve_pools(snapshot)
    assert not problems
    found = {pool.key: [endpoint.id for endpoint in pool.endpoints] for pool in pools}
    assert found == {"default/default": [endpoint(fleet, 0).id], "default/files": [endpoint(fleet, 1).id]}
