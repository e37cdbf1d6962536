"""The controller: bursts, problems, and what a bad version costs (nothing)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from headgate.app.controller import process as module
from headgate.app.controller.process import Controller, Debounce, ProblemBook
from headgate.gateway.plan.summary import Summary
from headgate.gateway.translate import Translation
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot


def test_a_burst_is_acted_on_after_a_quiet_spell_and_never_later_than_the_bound() -> None:
    debounce = Debounce(quiet_s=0.05, longest_s=0.5)
    assert debounce.changed(10.0) == 10.05
    assert debounce.changed(10.04) == pytest.approx(10.09)
    assert debounce.changed(10.48) == 10.5
    debounce.acted()
    assert debounce.changed(20.0) == 20.05


def problem(text: str) -> Problem:
    return Problem(Place(), "Odd", text)


def test_a_problem_is_told_once_when_it_comes_and_once_when_it_goes() -> None:
    told: list[str] = []
    book = ProblemBook(lambda p: told.append(f"+{p.message}"), lambda p: told.append(f"-{p.message}"))
    book.update([problem("a"), problem("a")])
    book.update([problem("a"), problem("b")])
    book.update([problem("b")])
    assert told == ["+a", "+b", "-a"]
    assert book.present == (problem("b"),)


class ScriptedSource:
    """A source that yields what it is given; an exception is raised in its place."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Snapshot | Exception] = asyncio.Queue()

    async def snapshots(self) -> AsyncGenerator[Snapshot, None]:
        while True:
            each = await self.queue.get()
            if isinstance(each, Exception):
                raise each
            yield each


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.01)


def scripted(snapshot: Snapshot) -> Translation:
    """One cluster, named by the snapshot's only problem; `boom` is a bug in the translator."""
    name = snapshot.problems[0].message
    if name == "boom":
        raise ZeroDivisionError
    cluster = {"name": name, "type": "STATIC"}
    return Translation({"cluster": {name: cluster}}, (problem(f"{name} is odd"),), Summary((), 0, ()))


def named(name: str) -> Snapshot:
    return Snapshot(problems=(problem(name),))


@asynccontextmanager
async def running(source: ScriptedSource) -> AsyncIterator[Controller]:
    made = Controller(source, scripted)
    task = asyncio.ensure_future(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_problems_of_reading_and_of_translating_are_shown() -> None:
    source = ScriptedSource()
    async with running(source) as controller:
        source.queue.put_nowait(named("a"))
        await until(lambda: controller.status()["translated"])
        assert [each["message"] for each in controller.status()["problems"]] == ["a", "a is odd"]
        assert not controller.status()["settled"]  # no Envoy is connected


async def test_a_burst_of_versions_is_published_once() -> None:
    source = ScriptedSource()
    async with running(source) as controller:
        for name in "abcdef":
            source.queue.put_nowait(named(name))
        await until(lambda: controller.status()["problems"])
        assert controller.status()["problems"][0]["message"] == "f"
        assert (controller.status()["snapshots"], controller.xds.published) == (6, 1)


async def test_a_version_that_cannot_be_translated_changes_nothing_that_is_served() -> None:
    source = ScriptedSource()
    async with running(source) as controller:
        source.queue.put_nowait(named("a"))
        await until(lambda: controller.xds.published == 1)
        source.queue.put_nowait(named("boom"))
        await until(lambda: controller.status()["problems"][0]["reason"] == "InternalError")
        assert controller.xds.published == 1
        source.queue.put_nowait(named("b"))
        await until(lambda: controller.xds.published == 2)
        assert [each["message"] for each in controller.status()["problems"]] == ["b", "b is odd"]


async def test_a_source_that_fails_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCE_AGAIN_S", 0.01)
    source = ScriptedSource()
    async with running(source) as controller:
        source.queue.put_nowait(OSError("gone"))
        source.queue.put_nowait(named("a"))
        await until(lambda: controller.xds.published == 1)


async def test_a_change_is_confirmed_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    source = ScriptedSource()
    with caplog.at_level("INFO", "headgate.controller"):
        async with running(source) as controller:
            source.queue.put_nowait(named("a"))
            await until(lambda: controller.xds.published == 1)
            assert "applied" not in caplog.text
            source.queue.put_nowait(named("b"))
            await until(lambda: controller.xds.published == 2)
            await until(lambda: "applied: 0 listeners, 0 routes, 0 pools" in caplog.text)
