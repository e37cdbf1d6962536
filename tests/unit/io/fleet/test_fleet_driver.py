"""The engine on the wall clock."""

import asyncio
import random
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from headgate.io.fleet.api import Call, Server, read_call
from headgate.io.fleet.clock import FleetClock
from headgate.io.fleet.driver import Answer, EngineDriver
from headgate.sim.engine import EngineModel
from headgate.sim.presets import PRESETS

PRESET = msgspec.structs.replace(PRESETS["8b-h100"], model="m", jitter=0.0, max_model_len=20_000)


def call(prompt: str, tokens: int, **more: object) -> Call:
    body = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, **more}
    read = read_call("completions", msgspec.json.encode(body), Server(PRESET, frozenset({"sql"}), 0, 100.0))
    assert isinstance(read, Call)
    return read


@pytest.fixture
async def driver() -> AsyncIterator[EngineDriver]:
    clock = FleetClock(10.0, time.monotonic())
    loop = asyncio.get_running_loop()
    made = EngineDriver(lambda: EngineModel(PRESET, random.Random(0), max_adapters=1), clock, "m", loop)
    yield made
    made.engine.check()
    made.close()


async def end_of(answer: Answer) -> float:
    """Wall seconds from its start to its end."""
    async with asyncio.timeout(5):
        while not answer.done:
            await answer.changed.wait()
            answer.changed.clear()
    return time.monotonic() - answer.started


async def test_an_answer_takes_virtual_time_over_speed(driver: EngineDriver) -> None:
    took = await end_of(driver.submit(call("x" * 4_000, 200)))
    virtual = PRESET.overhead_s + 200 * PRESET.step_s + 1_000 * PRESET.prefill_s
    assert virtual / 10 < took < virtual / 10 + 0.1


async def test_a_stream_is_told_of_its_progress(driver: EngineDriver) -> None:
    answer = driver.submit(call("x", 200, stream=True))
    seen = []
    while not answer.done:
        await asyncio.wait_for(answer.changed.wait(), 5)
        answer.changed.clear()
        seen.append(driver.generated(answer, 0))
    assert seen == sorted(seen)
    assert len(seen) > 10
    assert (seen[-1], answer.generated_tokens) == (200, 200)


async def test_choices_share_their_prompt(driver: EngineDriver) -> None:
    answer = driver.submit(call("x" * 4_000, 5, n=3))
    await end_of(answer)
    assert answer.generated_tokens == 15
    assert answer.cached_tokens == 0  # the first choice computed it
    assert [choice.cached_tokens for choice in answer.choices] == [0, 992, 992]


async def test_each_prompt_counts_its_cached_tokens_once(driver: EngineDriver) -> None:
    await end_of(driver.submit(call("x" * 4_000, 1)))
    again = driver.submit(call("x" * 4_000, 1, n=2))
    await end_of(again)
    assert again.cached_tokens == 992


async def test_adapters_have_their_own_cache(driver: EngineDriver) -> None:
    for model, hit in (("m", 0), ("sql", 0), ("sql", 992)):
        answer = driver.submit(call("x" * 4_000, 1, model=model))
        await end_of(answer)
        assert answer.cached_tokens == hit


async def test_cancelling_frees_the_engine(driver: EngineDriver) -> None:
    answer = driver.submit(call("x" * 4_000, 5_000))
    await asyncio.sleep(0.05)
    assert driver.engine.running == 1
    driver.cancel(answer)
    driver.cancel(answer)
    assert (driver.engine.running, driver.engine.cache.usage) == (0, 0.0)
    assert driver.instruments.finished["abort"] == 1


async def test_a_frozen_engine_stands_still_and_goes_on(driver: EngineDriver) -> None:
    answer = driver.submit(call("x", 50))
    await asyncio.sleep(0.01)
    driver.set_rate(0.0)
    before = driver.generated(answer, 0)
    await asyncio.sleep(0.05)
    assert driver.generated(answer, 0) == before < 50
    assert not answer.done
    driver.set_rate(100.0)
    await end_of(answer)


async def test_a_restart_is_cold(driver: EngineDriver) -> None:
    await end_of(driver.submit(call("x" * 4_000, 1)))
    lost = driver.submit(call("y", 1_000))
    driver.restart()
    assert driver.generated(lost, 0) == 0
    driver.cancel(lost)
    again = driver.submit(call("x" * 4_000, 1))
    await end_of(again)
    assert again.cached_tokens == 0
    assert driver.engine.totals.prompt_tokens == 1_000


async def test_what_a_client_saw_is_counted(driver: EngineDriver) -> None:
    took = await end_of(driver.submit(call("x", 21)))
    page = driver.instruments.page(driver.engine, "m", 0.0)
    for name, count in (
        ("time_to_first_token", 1),
        ("time_per_output_token", 20),
        ("e2e_request_latency", 1),
    ):
        assert f'vllm:{name}_seconds_count{{model_name="m",engine="0"}} {count}.0' in page
    (line,) = (line for line in page.splitlines() if line.startswith("vllm:e2e_request_latency_seconds_sum"))
    assert float(line.split()[-1]) == pytest.approx(took, abs=0.02)
    assert driver.instruments.finished["length"] == 1
