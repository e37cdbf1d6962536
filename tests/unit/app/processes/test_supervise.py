"""Child processes: restarts, output, signals."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import psutil
import pytest

from headgate.app.processes.supervise import Backoff, Child, how_ended


def test_the_wait_doubles_in_a_crash_loop_and_there_is_none_after_a_life_that_went_well() -> None:
    backoff = Backoff(first_s=0.2, longest_s=1.0, served_s=1.0, calm_s=20.0)
    assert [backoff.after(2.0) for _ in range(4)] == [0.2, 0.4, 0.8, 1.0]
    assert backoff.after(19.9, served_s=0.9) == 1.0
    assert backoff.after(2.0, served_s=1.0) == 0.0
    assert backoff.after(2.0) == 0.2
    assert backoff.after(20.0) == 0.0


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit code 0"), (-9, "killed by SIGKILL"), (-200, "killed by signal 200")]
)
def test_an_exit_code_in_words(code: int, words: str) -> None:
    assert how_ended(code) == words


@asynccontextmanager
async def running(program: str, lines: list[tuple[str, str]]) -> AsyncIterator[Child]:
    child = Child("it", [sys.executable, "-c", program], lambda name, line: lines.append((name, line.text)))
    task = asyncio.ensure_future(child.run())
    try:
        yield child
    finally:
        await child.stop(0.0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not reached():
            await asyncio.sleep(0.01)


async def test_lines_are_relayed_with_the_name_and_too_long_ones_are_dropped() -> None:
    lines: list[tuple[str, str]] = []
    program = "import sys; print('one'); print('x' * 200_000, flush=True); sys.stderr.write('two\\n')"
    async with running(program, lines):
        await until(lambda: ("it", "one") in lines and ("it", "two") in lines)
    assert max(len(line) for _, line in lines) < 70_000


async def test_what_it_says_of_every_request_is_bounded_and_what_it_tells_once_is_not() -> None:
    lines: list[tuple[str, str]] = []
    event = '{"time": "", "event": "endpoint", "level": "warning", "text": "down"}'
    program = (
        "print('warning ext_proc: no picker\\n' * 2000)\n"
        f"for _ in range(50): print({event!r})\n"
        "print('info main: end', flush=True); import time; time.sleep(60)"
    )
    async with running(program, lines):
        await until(lambda: ("it", "main: end") in lines)
    told = [text for _, text in lines]
    assert 20 <= sum("no picker" in text for text in told) < 1000
    assert told.count("down") == 50


async def test_one_that_dies_is_started_again() -> None:
    async with running("import time; time.sleep(60)", []) as child:
        await until(lambda: child.state.pid)
        first = child.state.pid
        assert first is not None
        psutil.Process(first).kill()
        await until(lambda: child.state.pid not in (None, first))
        assert (child.state.restarts, child.state.last_exit, child.state.state) == (1, -9, "running")


def unproved_in(child: Child, life: int) -> bool:
    return child.unproved == life


async def test_one_that_served_is_started_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with running("import time; time.sleep(60)", []) as child:
        for starts in (1, 2, 3):
            await until(partial(unproved_in, child, starts))
            child.serves(starts - 1)  # of a life that is over: says nothing of this one
            assert child.unproved == starts
            child.serves(starts)
            await until(lambda: (child.state.serving_s or 0.0) >= 1.0)
            assert child.state.pid is not None
            psutil.Process(child.state.pid).kill()
        await until(lambda: child.state.restarts == 3)
    assert [record.getMessage().rpartition(" again ")[2] for record in caplog.records] == ["at once"] * 3


async def test_signals_meant_for_the_supervisor_do_not_end_it() -> None:
    lines: list[tuple[str, str]] = []
    async with running("import time; print('up', flush=True); time.sleep(60)", lines) as child:
        await until(lambda: lines)
        assert child.state.pid is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(child.state.pid, number)
        status = psutil.Process(child.state.pid)
        assert status.is_running()
        await child.stop(10.0)
        await until(lambda: child.state.state == "stopped")
        assert child.state.last_exit == -signal.SIGUSR2


async def test_one_that_retires_is_not_started_again() -> None:
    async with running("import time; time.sleep(60)", []) as child:
        await until(lambda: child.state.pid)
        child.retire()
        assert child.state.pid is not None
        psutil.Process(child.state.pid).kill()
        await until(lambda: child.state.state == "stopped")
        assert (child.runs, child.state.restarts) == (False, 0)


async def test_stopping_asks_first_and_kills_later() -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGUSR2, signal.SIG_IGN); "
        "print('up', flush=True); time.sleep(60)"
    )
    lines: list[tuple[str, str]] = []
    async with running(deaf, lines) as child:
        await until(lambda: lines)
        await child.stop(0.2)
        assert child.state.last_exit in (None, -9)
        await until(lambda: child.state.state == "stopped")
        assert child.state.restarts == 0


async def test_a_stop_during_the_wait_starts_nothing_more() -> None:
    async with running("raise SystemExit(3)", []) as child:
        await until(lambda: child.state.state == "waiting")
        await child.stop(1.0)
        await until(lambda: child.state.state == "stopped")


async def test_a_program_that_is_not_there_is_tried_again() -> None:
    child = Child("it", ["/no/such/program"], lambda name, line: None)
    task = asyncio.ensure_future(child.run())
    await until(lambda: child.state.state == "waiting")
    assert child.state.pid is None
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
