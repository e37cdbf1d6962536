"""Leader election: one leads, another takes over, and who cannot renew stops."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from tests.api_server import ApiServer, until

from headgate.io.kube import lease as module
from headgate.io.kube.client import KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.lease import HOLD_S, Election, Holder, Observed, may_take, this_process


def test_a_process_is_known_by_its_pod_where_the_lease_may_belong_to_that() -> None:
    environ = {"POD_NAME": "controller-1", "POD_NAMESPACE": "system", "POD_UID": "u-1"}
    here = this_process("system", environ)
    assert here.identity.startswith("controller-1_")
    assert here.pod == {"apiVersion": "v1", "kind": "Pod", "name": "controller-1", "uid": "u-1"}
    assert this_process("elsewhere", environ).pod is None
    assert this_process("system", {}).pod is None
    assert this_process("system", environ).identity != here.identity


def test_who_may_take_a_lease() -> None:
    assert may_take(None, "me", 0.0)
    assert may_take(Observed("", "t", 0.0), "me", 0.0)
    assert may_take(Observed("me", "t", 0.0), "me", 0.0)
    held = Observed("other", "t", 100.0)
    assert not may_take(held, "me", 100.0 + HOLD_S - 0.1)
    assert may_take(held, "me", 100.0 + HOLD_S)


@pytest.fixture
async def client(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[ApiServer, KubeClient]]:
    for name, value in (("HOLD_S", 0.5), ("RENEW_S", 0.3), ("TRY_S", 0.03)):
        monkeypatch.setattr(module, name, value)
    async with ApiServer().running() as api, KubeClient(Access(server=api.url)) as made:
        yield api, made


async def ended(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_one_leads_and_another_takes_over_at_once_when_it_lets_go(
    client: tuple[ApiServer, KubeClient],
) -> None:
    api, kube = client
    told: list[bool] = []
    one = Election(kube, "default", "lease", Holder("one"), told.append)
    other = Election(kube, "default", "lease", Holder("other"), lambda _: None)
    first = asyncio.create_task(one.run())
    await until(lambda: one.leading)
    second = asyncio.create_task(other.run())
    await until(lambda: other.holder == "one")
    assert not other.leading
    await ended(first)
    await until(lambda: other.leading)
    assert told == [True, False]
    lease = api.get("leases", "lease")
    assert lease is not None and lease["spec"]["holderIdentity"] == "other"
    await ended(second)


async def test_who_cannot_renew_stops_and_leads_again_later(client: tuple[ApiServer, KubeClient]) -> None:
    api, kube = client
    election = Election(kube, "default", "lease", Holder("one"), lambda _: None)
    task = asyncio.create_task(election.run())
    await until(lambda: election.leading)
    api.away = True
    await until(lambda: not election.leading)
    api.away = False
    await until(lambda: election.leading)
    await ended(task)


async def test_a_silent_holder_loses_it(client: tuple[ApiServer, KubeClient]) -> None:
    api, kube = client
    spec = {"holderIdentity": "dead", "renewTime": "2026-01-01T00:00:00.000000Z", "leaseTransitions": 4}
    api.put(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lease"}, "spec": spec}
    )
    election = Election(kube, "default", "lease", Holder("one"), lambda _: None)
    task = asyncio.create_task(election.run())
    await until(lambda: election.leading)
    lease = api.get("leases", "lease")
    assert lease is not None and lease["spec"]["leaseTransitions"] == 5
    await ended(task)


async def test_a_lease_belongs_to_its_holders_pod(client: tuple[ApiServer, KubeClient]) -> None:
    """So that it goes with the Pod, whoever could not let go of it."""
    api, kube = client

    def owners() -> object:
        found = api.get("leases", "lease")
        return [each["uid"] for each in found["metadata"].get("ownerReferences", [])] if found else None

    pods = {each: {"apiVersion": "v1", "kind": "Pod", "name": each, "uid": f"uid-{each}"} for each in "ab"}
    first = Election(kube, "default", "lease", Holder("a", pods["a"]), lambda _: None)
    running = asyncio.create_task(first.run())
    await until(lambda: first.leading)
    assert owners() == ["uid-a"]
    api.remove({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "lease"}})
    await until(lambda: owners() == ["uid-a"])
    await ended(running)
    assert owners() == []
    second = Election(kube, "default", "lease", Holder("b", pods["b"]), lambda _: None)
    running = asyncio.create_task(second.run())
    await until(lambda: second.leading)
    assert owners() == ["uid-b"]
    await ended(running)
