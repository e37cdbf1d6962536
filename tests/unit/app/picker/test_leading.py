"""Of several pickers of a pool one is the one."""

import asyncio
import contextlib

from tests.api_server import ApiServer

from headgate.app.picker.leading import Leading, pickers_lease
from headgate.io.kube.config import Access


async def until(leading: Leading) -> None:
    async with asyncio.timeout(20):
        while not leading.now:
            await asyncio.sleep(0.01)


async def test_one_leads_and_the_next_takes_over() -> None:
    told: list[str] = []
    lease = pickers_lease("ns", "pool")
    assert lease == "ns/epp-ns-pool.llm-d.ai"
    async with ApiServer().running() as api:
        access = Access(server=api.url)

        async def one_changed() -> None:
            told.append("one")

        async def two_changed() -> None:
            told.append("two")

        one, two = Leading(access, lease, one_changed), Leading(access, lease, two_changed)
        first = asyncio.create_task(one.run())
        await until(one)
        second = asyncio.create_task(two.run())
        await asyncio.sleep(0.2)
        assert not two.now
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        await until(two)
        assert not one.now
        async with asyncio.timeout(5):
            while told != ["one", "two"]:
                await asyncio.sleep(0.01)
        second.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await second


async def test_without_a_lease_everybody_leads() -> None:
    async def changed() -> None:
        raise AssertionError

    alone = Leading(None, "", changed)
    assert alone.now
    await alone.run()
