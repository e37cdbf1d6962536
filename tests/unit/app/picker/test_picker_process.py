"""How a picker follows its source, whatever comes from it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from headgate.app.picker import process as picker
from headgate.app.picker.followed import selected_pool
from headgate.app.picker.process import Picker, PickerOptions
from headgate.io.sources.urls import objects_of
from headgate.model.forbidden import Own
from headgate.model.ids import PoolKey
from headgate.model.snapshot import Snapshot


def snapshot(*urls: str) -> Snapshot:
    return Snapshot(objects_of(urls))


BROKEN = Snapshot((*objects_of(["http://10.0.0.9:80"])[:3], None))  # type: ignore[arg-type]
"""What no source may yield: it stands for a bug."""


class ScriptedSource:
    """Yields or raises what it is given, once; then waits."""

    def __init__(self, *script: Snapshot | Exception) -> None:
        self._script = list(script)

    async def changes(self) -> AsyncGenerator[Snapshot, None]:
        while self._script:
            each = self._script.pop(0)
            if isinstance(each, Exception):
                raise each
            yield each
        await asyncio.Event().wait()


@pytest.mark.parametrize("trouble", [OSError("the disk is on fire"), BROKEN], ids=["the source", "an object"])
async def test_what_goes_wrong_costs_nothing_that_was_served(
    trouble: Snapshot | Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picker, "SOURCE_AGAIN_S", 0.0)
    script = (snapshot("http://10.0.0.1:80"), trouble, snapshot("http://10.0.0.1:80", "http://10.0.0.2:80"))
    subject = Picker(PickerOptions(wire="portable"))
    following = asyncio.create_task(subject._follow(ScriptedSource(*script)))
    seen = set()
    while 2 not in seen:
        assert not following.done()
        seen |= {len(view.endpoints) for view in subject._pools.views()}
        await asyncio.sleep(0.01)
    assert seen - {0} == {1, 2}
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    for view in subject._pools.views():
        subject._hub.remove_pool(view.pool)


async def test_a_bug_is_told_until_it_is_over() -> None:
    subject = Picker(PickerOptions(wire="portable"))
    await subject._take(BROKEN, Own())
    (problem,) = subject.problems
    assert problem.reason == "InternalError"
    assert "a bug in Headgate" in problem.message
    await subject._take(Snapshot(), Own())
    assert subject.problems == ()


async def test_a_selector_stands_in_place_of_the_pool_of_that_name() -> None:
    pool = selected_pool(PoolKey("default/urls"), [("app", "other")], [8000])
    options = PickerOptions(
        wire="portable", pool=PoolKey("default/mine"), selector=(("app", "x"),), target_ports=(80,)
    )
    subject = Picker(options)
    await subject._take(Snapshot((pool,)), Own())
    assert {view.pool for view in subject._pools.views()} == {"default/mine", "default/urls"}
    for view in subject._pools.views():
        subject._hub.remove_pool(view.pool)
