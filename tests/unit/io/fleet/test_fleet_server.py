"""The fleet as a whole."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest

from headgate.io.fleet.faults import Fault
from headgate.io.fleet.replica import Replica
from headgate.io.fleet.server import PortTakenError, running_fleet
from headgate.io.fleet.settings import FleetSettings

HELLO = {"prompt": "hello", "max_tokens": 20, "ignore_eos": True}


async def ask(url: str, body: Any = HELLO) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.post(url, json=body) as answer:
        return answer.status, await answer.json()


async def runs(replica: Replica) -> None:
    """Wait until its engine has a request in the batch."""
    async with asyncio.timeout(3):
        while not replica.engine.running:
            await asyncio.sleep(0.005)


async def test_replicas_answer_alike_and_keep_their_own_books() -> None:
    async with running_fleet(FleetSettings(replicas=3, speed=50)) as fleet:
        assert len(set(fleet.urls)) == 3
        texts = [(await ask(url + "/v1/completions"))[1]["choices"][0]["text"] for url in fleet.urls[:2]]
        assert texts[0] == texts[1]
        assert [replica.engine.totals.generated_tokens for replica in fleet.replicas] == [20, 20, 0]


async def test_a_crashed_replica_is_revived_by_the_control_port() -> None:
    async with running_fleet(FleetSettings(replicas=2, speed=50)) as fleet:
        control = fleet.control_url + "/fault"
        status, about = await ask(control, {"replica": 1, "kind": "crash"})
        assert (status, about["name"], about["faults"][0]["kind"]) == (200, "replica-1", "crash")
        with pytest.raises(aiohttp.ClientConnectorError):
            await ask(fleet.urls[1] + "/v1/completions")
        assert (await ask(fleet.urls[0] + "/v1/completions"))[0] == 200
        assert (await ask(control, {"replica": "replica-1", "kind": "recover"}))[0] == 200
        assert (await ask(fleet.urls[1] + "/v1/completions"))[0] == 200


async def test_the_control_port_lists_faults_and_refuses_nonsense() -> None:
    faults = ((0, Fault(kind="error-500")),)
    async with running_fleet(FleetSettings(replicas=2, speed=50, faults=faults)) as fleet:
        control = fleet.control_url + "/fault"
        assert (await ask(fleet.urls[0] + "/v1/completions"))[0] == 500
        async with aiohttp.ClientSession() as http, http.get(control) as answer:
            assert [len(one["faults"]) for one in await answer.json()] == [1, 0]
        for body, status in (
            ({"replica": 2, "kind": "hang"}, 404),
            ({"replica": True, "kind": "hang"}, 404),
            ({"kind": "hang"}, 404),
            ({"replica": 0, "kind": "explode"}, 400),
            ([], 400),
        ):
            assert (await ask(control, body))[0] == status


async def test_ports_follow_the_base_and_a_taken_one_is_named() -> None:
    async with running_fleet(FleetSettings(replicas=1, speed=50)) as first:
        port = first.replicas[0].port
        with pytest.raises(PortTakenError, match=str(port)):
            async with running_fleet(FleetSettings(replicas=1, port_base=port, control_port=0)):
                pytest.fail("two fleets on one port")
    async with running_fleet(FleetSettings(replicas=1, port_base=port, control_port=0)) as second:
        assert second.urls == (f"http://127.0.0.1:{port}",)


async def test_settings_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="no preset"):
        async with running_fleet(FleetSettings(preset="none")):
            pytest.fail("a fleet of nothing")


async def test_running_answers_end_before_the_fleet_does() -> None:
    async with running_fleet(FleetSettings(replicas=1, speed=5, drain_s=5)) as fleet:
        asking = asyncio.create_task(ask(fleet.urls[0] + "/v1/completions", {**HELLO, "max_tokens": 200}))
        await runs(fleet.replicas[0])
        assert not asking.done()
    status, body = await asking
    assert (status, body["usage"]["completion_tokens"]) == (200, 200)


@pytest.mark.parametrize("drain_s", [0.0, 0.1])
async def test_the_drain_is_bounded(drain_s: float) -> None:
    endless = {**HELLO, "max_tokens": 100_000}
    async with running_fleet(FleetSettings(replicas=1, speed=1, drain_s=drain_s)) as fleet:
        asking = asyncio.create_task(ask(fleet.urls[0] + "/v1/completions", endless))
        await runs(fleet.replicas[0])
        leaving = time.monotonic()
    assert time.monotonic() - leaving < 2
    with pytest.raises(aiohttp.ClientError):
        await asyncio.wait_for(asking, 2)
