"""What runs a Gateway is applied, tried again, and never taken from others."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api_server import ApiServer, until

from headgate.io.kube import apply as module
from headgate.io.kube.apply import Applier, Owned
from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.model.meta import Identity

OWNER = Identity("Gateway", "default", "gate", "gateway.networking.k8s.io")
OTHER = Identity("Gateway", "default", "other", "gateway.networking.k8s.io")


def service(port: int = 80, **labels: str) -> dict[str, Any]:
    meta = {
        "name": "gate-headgate",
        "namespace": "default",
        "labels": {"app.kubernetes.io/managed-by": "headgate", **labels},
    }
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": port}]}}


def of_somebody_else(number: int) -> dict[str, Any]:
    found = service(number)
    del found["metadata"]["labels"]
    return found


@pytest.fixture
async def lab(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ApiServer, Applier]]:
    monkeypatch.setattr(module, "wait_s", lambda *_: 0.01)
    async with ApiServer().running() as api, KubeClient(Access(server=api.url)) as client:
        applier = Applier(client)
        task = asyncio.create_task(applier.run())
        yield api, applier
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def port(api: ApiServer) -> Any:
    found = api.get("services", "gate-headgate")
    return found and found["spec"]["ports"][0]["port"]


async def test_the_leader_applies_and_applies_again_what_changed(lab: tuple[ApiServer, Applier]) -> None:
    api, applier = lab
    applier.want(OWNER, Owned("default", "gate-headgate", (service(80),)))
    await asyncio.sleep(0.05)
    assert port(api) is None, "another one leads"
    applier.lead(True)
    await until(lambda: port(api) == 80)
    applier.want(OWNER, Owned("default", "gate-headgate", (service(8080),)))
    await until(lambda: port(api) == 8080)
    applier.want(OWNER, Owned("default", "gate-headgate", ()))
    await until(lambda: port(api) is None)


async def test_an_object_that_another_made_is_left_alone_and_named(
    lab: tuple[ApiServer, Applier], caplog: pytest.LogCaptureFixture
) -> None:
    api, applier = lab
    foreign = of_somebody_else(9999)
    api.put(foreign)
    applier.lead(True)
    applier.want(OWNER, Owned("default", "gate-headgate", (service(80),)))
    await until(lambda: OWNER in applier.trouble)
    assert port(api) == 9999 and "was not made by Headgate" in caplog.text
    applier.want(OWNER, Owned("default", "gate-headgate", ()))
    await until(lambda: OWNER not in applier.trouble)
    assert port(api) == 9999
    api.remove(foreign)


async def test_what_fails_is_tried_again(lab: tuple[ApiServer, Applier]) -> None:
    api, applier = lab
    api.refused["services"] = 403
    applier.lead(True)
    applier.want(OWNER, Owned("default", "gate-headgate", (service(80),)))
    await until(lambda: OWNER in applier.trouble)
    api.refused.clear()
    await until(lambda: port(api) == 80 and OWNER not in applier.trouble)


async def test_what_others_made_may_be_added_to_and_stays_when_nothing_is_added(
    lab: tuple[ApiServer, Applier],
) -> None:
    api, applier = lab
    foreign = of_somebody_else(9999)
    api.put(foreign)
    applier.lead(True)
    added = of_somebody_else(8080)
    applier.want(OWNER, Owned("default", "gate-headgate", (added,), shared=True))
    await until(lambda: port(api) == 8080)
    applier.want(OWNER, Owned("default", "gate-headgate", (), shared=True))
    applier.want(
        OTHER, Owned("default", "other", ({**added, "metadata": {**added["metadata"], "name": "other"}},))
    )
    await until(lambda: api.get("services", "other"))
    assert port(api) == 8080 and not applier.trouble


async def test_the_number_of_replicas_that_was_applied_is_left_to_an_autoscaler(
    lab: tuple[ApiServer, Applier],
) -> None:
    api, applier = lab
    meta = {**service()["metadata"], "name": "gate-headgate"}
    there = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta}
    ours = {
        "manager": "headgate-controller",
        "operation": "Apply",
        "fieldsV1": {"f:spec": {"f:replicas": {}}},
    }
    api.put({**there, "metadata": {**meta, "managedFields": [ours]}, "spec": {"replicas": 3}})
    applier.lead(True)
    applier.want(OWNER, Owned("default", "gate-headgate", ({**there, "spec": {"paused": True}},)))
    await until(lambda: (api.get("deployments", "gate-headgate") or {})["spec"].get("paused"))
    assert applier.trouble == {}
    managers = [query["fieldManager"] for method, _, query in api.asked if method == "PATCH"]
    assert managers == ["headgate-controller-handover", "headgate-controller"]
