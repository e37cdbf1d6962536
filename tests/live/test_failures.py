"""Killing and hanging the picker and the model servers under load: what clients see is counted and printed."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.load import MODEL, load, one, summary
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live


def manifests(folder: Path, urls: list[str], mode: str) -> Path:
    pool = manifest.pool("pool", mode, app="vllm")
    servers = manifest.model_servers(urls, app="vllm")
    return manifest.write(
        folder / "pool.yaml", manifest.gateway(), manifest.route(manifest.rule("pool")), pool, *servers
    )


@pytest.fixture
def fleet() -> Iterator[Replicas]:
    with replicas(3, "--speed", "20", "--model", MODEL) as started:
        yield started


def restarted(gate: Gateway, child: str, before: int) -> bool:
    return gate.pid(child) not in (None, before)


@pytest.mark.parametrize("mode", ["FailOpen", "FailClose"])
async def test_the_picker_dies_under_load(fleet: Replicas, tmp_path: Path, mode: str) -> None:
    with gateway("-f", str(manifests(tmp_path, fleet.urls, mode))) as gate:
        pid = gate.pid("picker")
        assert pid is not None
        killed = back = 0.0

        async def during() -> None:
            nonlocal killed, back
            await asyncio.sleep(1)
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            await asyncio.to_thread(eventually, lambda: restarted(gate, "picker", pid) and gate.ready(), 30)
            back = time.monotonic()
            await asyncio.sleep(1)

        seen = await load(gate.url, during)
        summary(f"picker killed, {mode}", seen)
        in_hands = [one for one in seen if one.started < killed < one.ended and one.status != 200]
        later = [one for one in seen if killed + 0.05 < one.started < back]
        print(
            f"in its hands at that moment and refused: {len(in_hands)}; arrived while it was away: {len(later)}"
        )
        assert {one.status for one in in_hands} <= {503}
        assert later, "the picker came back before anything arrived: nothing was shown"
        if mode == "FailOpen":
            assert {one.status for one in later} == {200}
            assert any("fallback" in (one.decision or "") for one in later)
        else:
            assert {one.status for one in later} <= {503, 200}
            assert any(one.status == 503 for one in later)
        assert {one.status for one in seen if one.started > back + 0.5} == {200}
        assert not any(one.broken for one in seen)


@pytest.mark.parametrize("mode", ["FailOpen", "FailClose"])
async def test_a_hanging_picker_is_bounded(fleet: Replicas, tmp_path: Path, mode: str) -> None:
    with gateway("-f", str(manifests(tmp_path, fleet.urls, mode)), "--picker-timeout", "1") as gate:
        pid = gate.pid("picker")
        assert pid is not None
        async with aiohttp.ClientSession() as http:
            assert (await one(http, gate.url)).status == 200
            os.kill(pid, signal.SIGSTOP)
            try:
                met = [await one(http, gate.url) for _ in range(3)]
            finally:
                os.kill(pid, signal.SIGCONT)
        took = [round(each.ended - each.started, 2) for each in met]
        print(f"\npicker stopped, {mode}: {[each.status for each in met]} after {took} s")
        assert max(took) < 6
        assert {each.status for each in met} <= ({200} if mode == "FailOpen" else {503, 504})


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "plain"])
async def test_a_replica_dies_under_load(fleet: Replicas, stream: bool) -> None:
    with gateway(*fleet.urls) as gate:
        died = revived = 0.0

        async def during() -> None:
            nonlocal died, revived
            await asyncio.sleep(1.5)
            died = time.monotonic()
            await asyncio.to_thread(fleet.fault, 1, "crash")
            await asyncio.sleep(3)
            await asyncio.to_thread(fleet.fault, 1, "recover")
            revived = time.monotonic()
            await asyncio.sleep(6)

        seen = await load(gate.url, during, clients=16, stream=stream)
        summary(f"replica killed, {'streamed' if stream else 'plain'}", seen)
        unanswered = [each for each in seen if each.status != 200]
        cut = [each for each in seen if each.broken]
        print(f"errors before the first byte: {len(unanswered)}; streams cut after it: {len(cut)}")
        assert not unanswered
        dead = fleet.endpoint(1)
        assert not [each for each in seen if each.endpoint == dead and died + 1 < each.started < revived]
        assert [each for each in seen if each.endpoint == dead and each.started > revived], (
            "it never came back"
        )


@pytest.mark.parametrize("kind", ["hang", "error-500", "hang-all"])
async def test_a_sick_replica_is_avoided_within_a_second(fleet: Replicas, kind: str) -> None:
    with gateway(*fleet.urls) as gate:
        sick = 0.0

        async def during() -> None:
            nonlocal sick
            await asyncio.sleep(1.5)
            sick = time.monotonic()
            await asyncio.to_thread(fleet.fault, 2, kind)
            await asyncio.sleep(4)
            await asyncio.to_thread(fleet.fault, 2, "recover")

        seen = await load(gate.url, during, clients=16)
        summary(f"replica 2: {kind}", seen)
        before = [each for each in seen if each.ended < sick and each.endpoint == fleet.endpoint(2)]
        assert before, "the replica was never chosen: nothing was shown"
        first_sick = [each for each in seen if each.started > sick]
        late = [
            each
            for each in first_sick
            if each.started > sick + 1.2 and each.endpoint == fleet.endpoint(2) and each.ended < sick + 4
        ]
        print(f"requests sent to it later than 1.2 s after: {len(late)} of {len(first_sick)}")
        # Half-open probes are allowed: a few, not a share.
        assert len(late) <= 5


async def test_what_a_silent_replica_had_is_rescued(fleet: Replicas) -> None:
    with gateway(*fleet.urls, "--rescue-after", "2s") as gate:
        silent = fleet.endpoint(0)
        async with aiohttp.ClientSession() as http:
            for _ in range(6):
                assert (await one(http, gate.url)).status == 200
            await asyncio.to_thread(fleet.fault, 0, "hang")
            met = await asyncio.gather(*(one(http, gate.url) for _ in range(24)))
            await asyncio.to_thread(fleet.fault, 0, "recover")
        summary("a silent replica's requests", met)
        late = [each for each in met if each.ended - each.started >= 2]
        print(f"in its hands and rescued: {len(late)}")
        assert late, "it had none: nothing was shown"
        assert {(each.status, each.broken) for each in met} == {(200, False)}
        assert silent not in {each.endpoint for each in met}
