"""The writer of statuses: one write for many changes, none for none, and others' entries."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import pytest
from tests import manifests as manifest
from tests.api_server import ApiServer

from headgate.io.kube import status as module
from headgate.io.kube.client import Collection, KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.status import StatusWriter, apart_s
from headgate.model.meta import GATEWAY_GROUP, Identity

US = "headgate.dev/gateway-controller"
ROUTES = Collection(GATEWAY_GROUP, "v1", "httproutes")


def entry(name: str, status: str = "True", controller: str = US) -> dict[str, Any]:
    ref = {"group": GATEWAY_GROUP, "kind": "Gateway", "name": name, "namespace": "default"}
    accepted = {
        "type": "Accepted",
        "status": status,
        "reason": "Accepted",
        "message": "",
        "observedGeneration": 1,
    }
    return {"parentRef": ref, "controllerName": controller, "conditions": [accepted]}


def identity(name: str = "r") -> Identity:
    return Identity("HTTPRoute", "default", name, GATEWAY_GROUP)


class Lab:
    def __init__(self, api: ApiServer, writer: StatusWriter) -> None:
        self.api, self.writer = api, writer

    def see(self, name: str = "r") -> None:
        self.writer.seen(identity(name), self.api.get("httproutes", name))

    def want(self, *parents: Mapping[str, Any], name: str = "r") -> None:
        self.writer.want({identity(name): {"parents": list(parents)}})

    def parents(self, name: str = "r") -> list[tuple[str, str]]:
        found = self.api.get("httproutes", name) or {}
        listed = found.get("status", {}).get("parents", [])
        return [(each["parentRef"]["name"], each["conditions"][0]["status"]) for each in listed]

    async def until(self, reached: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not reached():
                await asyncio.sleep(0.005)

    def patches(self) -> int:
        return sum(method == "PATCH" for method, _, _ in self.api.asked)


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lab]:
    monkeypatch.setattr(module, "APART_S", 0.05)
    monkeypatch.setattr(module, "wait_s", lambda *_: 0.01)
    async with ApiServer().running() as api, KubeClient(Access(server=api.url)) as client:
        api.put(manifest.route(manifest.rule("p"), name="r"))
        writer = StatusWriter(client, lambda _: ROUTES, US, lambda: "2026-01-01T00:00:00Z")
        task = asyncio.create_task(writer.run())
        yield Lab(api, writer)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_what_changes_often_is_written_seldom_and_ends_right(lab: Lab) -> None:
    lab.see()
    lab.writer.lead(True)
    for number in range(300):
        lab.want(entry(f"gate-{number}"))
        if number % 50 == 0:
            await asyncio.sleep(0.01)
    await lab.until(lambda: lab.parents() == [("gate-299", "True")])
    assert lab.writer.writes == lab.patches() <= 5 and lab.writer.pending == 0


def writes_within(seconds: float, late_s: float) -> int:
    """Of an object each of whose writes is due *late_s* after it may be."""
    at, apart, found = 0.0, 0.0, 0
    while at < seconds:
        found += 1
        apart = apart_s(apart, late_s)
        at += apart + late_s
    return found


def test_who_changes_on_and_on_is_written_ever_more_seldom_and_as_before_after_a_pause() -> None:
    assert writes_within(5, 0.01) == 8, "at first every half second"
    assert writes_within(300, 0.01) < 160, "thousand routes that are made within five minutes"
    assert apart_s(module.SLOWEST_S, module.SLOWEST_S + 1) == apart_s(0.0, 1e9) == module.APART_S


async def test_nothing_is_written_that_is_there_already_or_that_another_leads(lab: Lab) -> None:
    lab.see()
    lab.want(entry("gate"))
    await asyncio.sleep(0.1)
    assert lab.patches() == 0, "another one leads"
    lab.writer.lead(True)
    await lab.until(lambda: lab.parents() == [("gate", "True")])
    lab.see()
    lab.want(entry("gate"))
    lab.writer.lead(False)
    lab.writer.lead(True)
    await asyncio.sleep(0.1)
    assert lab.patches() == 1 and lab.writer.pending == 0


async def test_a_conflict_is_tried_again_with_what_is_there_then(lab: Lab) -> None:
    route = lab.api.get("httproutes", "r")
    assert route is not None
    route["status"] = {"parents": [entry("theirs", controller="example.com/other")]}
    lab.see()
    lab.api.conflicts = 2
    lab.writer.lead(True)
    lab.want(entry("gate"))
    await lab.until(lambda: lab.parents() == [("theirs", "True"), ("gate", "True")])
    assert lab.patches() == 3
    lab.writer.want({identity(): None})
    await lab.until(lambda: lab.parents() == [("theirs", "True")])


async def test_what_somebody_else_destroyed_is_mended(lab: Lab) -> None:
    lab.see()
    lab.writer.lead(True)
    lab.want(entry("gate"))
    await lab.until(lambda: lab.parents() == [("gate", "True")])
    lab.api.put({**manifest.route(manifest.rule("p"), name="r"), "status": {"parents": []}})
    lab.see()
    await lab.until(lambda: lab.parents() == [("gate", "True")])


async def test_what_is_destroyed_before_the_answer_to_our_write_is_read_is_mended(lab: Lab) -> None:
    """The watch may be faster than the answer, which then is old."""
    lab.see()
    lab.writer.lead(True)
    held = lab.api.hold("fieldManager")
    lab.want(entry("gate"))
    await held.reached.wait()
    assert lab.parents() == [("gate", "True")]
    lab.api.put({**manifest.route(manifest.rule("p"), name="r"), "status": {"parents": []}})
    lab.see()
    held.go_on.set()
    await lab.until(lambda: lab.parents() == [("gate", "True")])


async def test_a_server_that_refuses_is_told_of_once_and_asked_again(
    lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    lab.see()
    lab.api.refused["httproutes"] = 403
    lab.writer.lead(True)
    lab.want(entry("gate"))
    await lab.until(lambda: sum(path.endswith("/r") for _, path, _ in lab.api.asked) > 3)
    assert caplog.text.count("patch of its status") == 1
    lab.api.refused.clear()
    await lab.until(lambda: lab.parents() == [("gate", "True")])


async def test_fields_that_the_server_drops_are_not_written_again_and_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    put = lab.api._store

    def without_controller(what: str, key: Any, made: Any) -> Any:
        for each in made.get("status", {}).get("parents", []):
            each["conditions"][0].pop("observedGeneration", None)
        return put(what, key, made)

    monkeypatch.setattr(lab.api, "_store", without_controller)
    lab.see()
    lab.writer.lead(True)
    lab.want(entry("gate"))
    await lab.until(lambda: lab.parents() == [("gate", "True")])
    lab.see()
    await asyncio.sleep(0.2)
    assert lab.patches() == 1 and lab.writer.pending == 0


async def test_an_object_that_is_gone_is_forgotten(lab: Lab) -> None:
    lab.see()
    lab.writer.lead(True)
    lab.api.remove(manifest.route(manifest.rule("p"), name="r"))
    lab.want(entry("gate"))
    await lab.until(lambda: any(path.endswith("/r") for _, path, _ in lab.api.asked))
    lab.writer.seen(identity(), None)
    assert lab.writer.pending == 0


def deleted(lab: Lab, name: str = "r") -> None:
    """It is gone, and the watch says so."""
    lab.writer.seen(identity(name), None)


async def test_what_is_made_again_before_anything_was_said_of_it_is_written_again(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETURNED_S", 0.05)
    lab.see()
    lab.want(entry("gate"))
    lab.writer.lead(True)
    await lab.until(lambda: lab.parents() == [("gate", "True")])
    deleted(lab)
    lab.api.put(
        manifest.route(manifest.rule("p"), name="r")
    )  # without a status; equal, so that nothing is said
    lab.see()
    await lab.until(lambda: lab.parents() == [("gate", "True")])


async def test_nothing_is_kept_of_what_is_gone(lab: Lab) -> None:
    lab.see()
    lab.want(entry("gate"))
    deleted(lab)
    lab.writer.want({identity(): None})
    assert lab.writer._desired == {} and lab.writer._kept == set()
