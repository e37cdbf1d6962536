"""The controller: bursts, problems, and what a bad version costs (nothing)."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests import manifests as manifest

from headgate.app.controller import process as module
from headgate.app.controller.process import Controller
from headgate.gateway.half import GatewayHalf
from headgate.gateway.settings import GatewaySettings
from headgate.io.client_keys import ClientKeyFile
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot


def problem(text: str) -> Problem:
    return Problem(Place(), "Odd", text)


class ScriptedSource:
    """A source that yields what it is given; an exception is raised in its place."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Snapshot | Exception] = asyncio.Queue()

    async def changes(self) -> AsyncGenerator[Snapshot, None]:
        while True:
            each = await self.queue.get()
            if isinstance(each, Exception):
                raise each
            yield each


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.01)


def named(name: str) -> Snapshot:
    """A Gateway's route called *name* to a pool of that name with a server, and a problem of that name."""
    return replace(
        manifest.snapshot(
            manifest.gateway(),
            manifest.route(manifest.rule(name), name=name),
            manifest.pool(name),
            manifest.model_server(name, "10.0.0.1:8000", app=name),
        ),
        problems=(problem(name),),
    )


def routes(controller: Controller) -> list[str]:
    """The pools that are served."""
    return [each["key"] for each in (controller.status()["summary"] or {}).get("pools", ())]


@asynccontextmanager
async def running(
    source: ScriptedSource, client_keys: ClientKeyFile | None = None
) -> AsyncIterator[Controller]:
    made = Controller(source, GatewaySettings(), client_keys=client_keys)
    task = asyncio.ensure_future(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_problems_of_reading_and_of_planning_are_shown() -> None:
    source = ScriptedSource()
    async with running(source) as controller:
        found = manifest.snapshot(manifest.gateway(), manifest.route(manifest.rule("nobody")))
        source.queue.put_nowait(replace(found, problems=(problem("a"),)))
        await until(lambda: controller.status()["translated"])
        reasons = [each["reason"] for each in controller.status()["problems"]]
        assert reasons == ["Odd", "BackendNotFound"]
        assert not controller.status()["settled"]  # no Envoy is connected


async def test_a_burst_of_versions_ends_with_the_last() -> None:
    source = ScriptedSource()
    async with running(source) as controller:
        for name in "abcdef":
            source.queue.put_nowait(named(name))
        await until(lambda: controller.status()["snapshots"] == 6)
        await until(lambda: routes(controller) == ["default/f"])
        assert [each["message"] for each in controller.status()["problems"]] == ["f"]


async def test_a_version_that_meets_a_bug_changes_nothing_that_is_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = ScriptedSource()
    async with running(source) as controller:
        source.queue.put_nowait(named("a"))
        await until(lambda: routes(controller) == ["default/a"])
        published = controller.xds.published
        with monkeypatch.context() as patch:
            patch.setattr(module, "take", lambda *_: 1 / 0)
            source.queue.put_nowait(named("b"))
            await until(lambda: controller.status()["problems"][0]["reason"] == "InternalError")
            assert (controller.xds.published, routes(controller)) == (published, ["default/a"])
        source.queue.put_nowait(named("c"))
        await until(lambda: routes(controller) == ["default/c"])
        assert [each["message"] for each in controller.status()["problems"]] == ["c"]


async def test_a_source_that_fails_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SOURCE_AGAIN_S", 0.01)
    source = ScriptedSource()
    async with running(source) as controller:
        source.queue.put_nowait(OSError("gone"))
        source.queue.put_nowait(named("a"))
        await until(lambda: routes(controller) == ["default/a"])


async def test_clients_that_come_before_the_first_objects_are_let_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "CLIENT_KEYS_S", 0.01)
    let_in: list[tuple[tuple[str, str], ...]] = []
    really = GatewayHalf.let_in

    def noted(half: GatewayHalf, clients: tuple[tuple[str, str], ...]) -> None:
        let_in.append(clients)
        really(half, clients)

    monkeypatch.setattr(GatewayHalf, "let_in", noted)
    file = tmp_path / "keys"
    file.write_text("a: sk-a\n")
    source = ScriptedSource()
    async with running(source, ClientKeyFile(file)) as controller:
        file.write_text("a: sk-a\nb: sk-of-b\n")
        await until(lambda: let_in[-1] == (("a", "sk-a"), ("b", "sk-of-b")))
        source.queue.put_nowait(named("a"))
        await until(lambda: routes(controller) == ["default/a"])
        file.write_text("b: sk-of-b\n")
        await until(lambda: let_in[-1] == (("b", "sk-of-b"),))


async def test_a_change_is_not_confirmed_before_envoy_has_it(caplog: pytest.LogCaptureFixture) -> None:
    source = ScriptedSource()
    with caplog.at_level("INFO", "headgate.controller"):
        async with running(source) as controller:
            source.queue.put_nowait(named("a"))
            await until(lambda: routes(controller) == ["default/a"])
            source.queue.put_nowait(named("b"))
            await until(lambda: routes(controller) == ["default/b"])
            await asyncio.sleep(0.2)
            assert "applied" not in caplog.text  # no Envoy is connected
