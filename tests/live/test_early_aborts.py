"""Clients that go away around the pick, through the whole gateway: nothing of them stays in the books."""

import asyncio
import random

import aiohttp
import pytest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live

CLIENTS, ROUNDS = 12, 25


@pytest.mark.parametrize("wire", ["portable", "native"])
async def test_requests_given_up_before_or_after_the_pick_are_not_kept(
    wire: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if wire == "native":
        pytest.importorskip("headgate_native")
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    with replicas(2, "--speed", "20", "--model", "m") as fleet, gateway(*fleet.urls) as gate:
        given_up = 0

        async def client(http: aiohttp.ClientSession, dice: random.Random) -> None:
            nonlocal given_up
            for number in range(ROUNDS):
                body = {"model": "m", "prompt": f"{number} ", "max_tokens": 4, "stream": number % 2 == 0}
                try:
                    async with (
                        asyncio.timeout(dice.uniform(0.0005, 0.02)),
                        http.post(gate.url + "/v1/completions", json=body) as answer,
                    ):
                        await answer.read()
                except TimeoutError:
                    given_up += 1

        async with (
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http,
            asyncio.TaskGroup() as group,
        ):
            for number in range(CLIENTS):
                group.create_task(client(http, random.Random(number)))
        assert given_up > ROUNDS

        def kept() -> tuple[int, int, int]:
            picker = gate.status()["picker"]
            return picker["open_streams"], picker["left_streams"], gate.in_flight()

        await asyncio.to_thread(eventually, lambda: kept() == (0, 0, 0))
        print(f"\n{wire}: {given_up} of {CLIENTS * ROUNDS} requests given up, none of them kept")
