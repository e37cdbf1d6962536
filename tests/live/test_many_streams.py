"""Two thousand streams that mostly wait, through one gateway."""

import asyncio

import aiohttp
import pytest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]

STREAMS = 2000


async def test_two_thousand_idle_streams_end_well() -> None:
    # At a tenth of real time and with 1,000 sequences a replica gives each stream a few tokens a second.
    with (
        replicas(2, "--speed", "0.1", "--model", "m", "--max-num-seqs", "1024") as fleet,
        gateway(*fleet.urls) as gate,
    ):
        open_now = highest = 0
        endings: list[str] = []

        async def one(http: aiohttp.ClientSession, number: int) -> None:
            nonlocal open_now, highest
            await asyncio.sleep(number * 0.004)
            body = {
                "model": "m",
                "prompt": f"idle {number}",
                "max_tokens": 120,
                "ignore_eos": True,
                "stream": True,
            }
            try:
                async with http.post(gate.url + "/v1/completions", json=body) as answer:
                    if answer.status != 200:
                        endings.append(f"{answer.status} {await answer.text()}")
                        return
                    await answer.content.readline()
                    open_now += 1
                    highest = max(highest, open_now)
                    rest = await answer.content.read()
                    endings.append("ok" if rest.rstrip().endswith(b"data: [DONE]") else "cut")
                    open_now -= 1
            except aiohttp.ClientError as error:
                endings.append(repr(error))

        timeout = aiohttp.ClientTimeout(total=None, sock_read=120)
        connector = aiohttp.TCPConnector(limit=0)
        async with (
            aiohttp.ClientSession(timeout=timeout, connector=connector) as http,
            asyncio.TaskGroup() as group,
        ):
            for number in range(STREAMS):
                group.create_task(one(http, number))
        print(
            f"\n{STREAMS} streams, {highest} open at once; endings: { {each: endings.count(each) for each in set(endings)} }"
        )
        assert endings == ["ok"] * STREAMS
        assert highest > STREAMS * 0.9
