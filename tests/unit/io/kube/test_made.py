"""What somebody does to objects that Headgate made is told; what others have is not looked at."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.api_server import ApiServer, until

from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.made import KINDS, Made
from headgate.model.meta import Identity


def deployment(name: str, replicas: int, by: str = "headgate") -> dict[str, Any]:
    meta = {"name": name, "namespace": "default", "labels": {"app.kubernetes.io/managed-by": by}}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": replicas}}


@pytest.fixture
async def told() -> AsyncIterator[tuple[ApiServer, list[str]]]:
    names: list[str] = []
    async with ApiServer().running() as api, KubeClient(Access(server=api.url)) as client:
        api.put(deployment("gate", 1))
        api.put(deployment("theirs", 1, by="them"))

        def other(identity: Identity) -> None:
            names.append(identity.name)

        task = asyncio.create_task(Made(client, (), other).run())
        await until(lambda: sum("watch" in query for _, _, query in api.asked) == len(KINDS))
        yield api, names
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_only_what_has_our_label_is_asked_for(told: tuple[ApiServer, list[str]]) -> None:
    api, _ = told
    lists = [query for method, path, query in api.asked if "deployments" in path and method == "GET"]
    assert {each.get("labelSelector") for each in lists} == {"app.kubernetes.io/managed-by=headgate"}


async def test_deletions_and_other_specifications_are_told_and_news_of_status_is_not(
    told: tuple[ApiServer, list[str]],
) -> None:
    api, names = told
    api.put({**deployment("gate", 1), "status": {"readyReplicas": 1}})
    api.put(deployment("gate", 0))
    await until(lambda: names == ["gate"])
    api.remove(deployment("gate", 0))
    await until(lambda: names == ["gate", "gate"])
