"""What the leading controller writes on a cluster: what runs a Gateway, and what a Gateway's status says of it."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests import manifests as manifest
from tests.api_server import ApiServer, Json
from tests.unit.gateway.provision.test_provision_objects import TOLD

from headgate.app.cluster.source import ClusterSource
from headgate.app.controller import writes as module
from headgate.app.controller.writes import ClusterWrites
from headgate.gateway.half import GatewayHalf
from headgate.gateway.settings import GatewaySettings
from headgate.io.kube import apply as applying
from headgate.io.kube.config import Access
from headgate.model.snapshot import Difference, Snapshot, difference, held, take

CLASS = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "GatewayClass",
    "metadata": {"name": "headgate"},
    "spec": {"controllerName": "headgate.dev/gateway-controller"},
}


def gateway(name: str, **spec: Any) -> Json:
    made: Json = manifest.gateway(name)
    made["metadata"]["namespace"] = "default"
    made["spec"] |= spec
    return made


async def _controller(api: ApiServer) -> None:
    """The parts of a controller between the API server and itself, without xDS."""
    access = Access(server=api.url)
    source = ClusterSource(access)
    writes = ClusterWrites(access, source.collection_of, provision=TOLD)
    source.seen = writes.seen
    half = GatewayHalf(GatewaySettings(per_gateway=True), follow_results=True, provision=TOLD)

    async def follow() -> None:
        async for news in source.changes():
            found = difference(held(half.world), news) if isinstance(news, Snapshot) else news
            assert isinstance(found, Difference)
            take(half.world, found)
            writes.updated(half.refresh(0.0))

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(writes.run())
        tasks.create_task(follow())


@pytest.fixture
async def api(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setattr(applying, "wait_s", lambda *_: 0.05)
    monkeypatch.setattr(module, "RESTORED_S", 0.01)
    async with ApiServer().running() as found:
        found.put(CLASS)
        running = asyncio.create_task(_controller(found))
        try:
            yield found
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def until(what: str, reached: Callable[[], object]) -> None:
    try:
        async with asyncio.timeout(15):
            while not reached():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(what) from None


def condition(api: ApiServer, name: str, type_: str) -> tuple[str, str, str]:
    """Status, reason and message."""
    found = (api.get("gateways", name) or {}).get("status", {}).get("conditions", [])
    each: Json = next((each for each in found if each["type"] == type_), {})
    return each.get("status", ""), each.get("reason", ""), each.get("message", "")


def services(api: ApiServer) -> list[Json]:
    return [each for key, each in api.objects.items() if key[1] == "services"]


def given_addresses(api: ApiServer) -> bool:
    """As the cluster's load balancer does; whether there was a Service."""
    for each in services(api):
        if "status" not in each:
            api.put({**each, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}})
    return bool(services(api))


@pytest.mark.parametrize("name", ["gate", "b" * 200 + "." + "c" * 52])
async def test_a_gateway_of_any_name_gets_the_address_of_its_service(api: ApiServer, name: str) -> None:
    api.put(gateway(name))
    await until("its Service", lambda: given_addresses(api))
    await until(
        "its address",
        lambda: (
            [
                each["value"]
                for each in (api.get("gateways", name) or {}).get("status", {}).get("addresses", [])
            ]
            == ["192.0.2.7"]
        ),
    )
    await until("it to be programmed", lambda: condition(api, name, "Programmed")[0] == "True")


async def test_what_cannot_be_made_is_said_in_the_status_and_taken_back(api: ApiServer) -> None:
    api.refused["deployments"] = 403
    api.put(gateway("gate"))
    await until("the reason", lambda: condition(api, "gate", "Programmed")[1] == "NoResources")
    status, _, message = condition(api, "gate", "Programmed")
    assert status == "False" and "deployments is refused" in message
    assert condition(api, "gate", "Accepted")[0] == "True"
    api.refused.clear()
    await until("its Service", lambda: given_addresses(api))
    await until("it to be programmed", lambda: condition(api, "gate", "Programmed")[0] == "True")


async def test_overrides_that_the_api_server_refuses_are_invalid_parameters(api: ApiServer) -> None:
    api.refused["deployments"] = 422
    api.put(gateway("gate"))
    await until("the reason", lambda: condition(api, "gate", "Accepted")[1] == "InvalidParameters")
    assert "deployments is refused" in condition(api, "gate", "Accepted")[2]
    assert condition(api, "gate", "Programmed")[:2] == ("False", "InvalidParameters")


async def test_a_server_that_is_busy_for_a_moment_is_no_reason(api: ApiServer) -> None:
    api.put(gateway("gate"))
    await until("its Service", lambda: given_addresses(api))
    await until("it to be programmed", lambda: condition(api, "gate", "Programmed")[0] == "True")
    api.refused["deployments"] = 503
    asked = len(api.asked)
    api.put(gateway("gate", infrastructure={"labels": {"a": "b"}}))

    def tried() -> int:
        return sum("deployments" in path for method, path, _ in api.asked[asked:] if method == "PATCH")

    await until("some tries", lambda: tried() > 2)
    assert condition(api, "gate", "Programmed")[0] == "True"


@pytest.mark.parametrize(
    ("plural", "name"),
    [
        ("deployments", "gate-headgate"),
        ("services", "gate-headgate"),
        ("serviceaccounts", "gate-headgate"),
        ("configmaps", "gate-headgate"),
        ("secrets", "gate-headgate-xds"),
    ],
)
async def test_what_somebody_deletes_comes_back(api: ApiServer, plural: str, name: str) -> None:
    api.put(gateway("gate"))
    await until("its Service", lambda: given_addresses(api))
    await until("it to be programmed", lambda: condition(api, "gate", "Programmed")[0] == "True")
    before = api.get(plural, name)
    assert before is not None
    await until("all to be seen", lambda: _watched(api, plural))
    api.remove(before)
    await until("it to be there again", lambda: api.get(plural, name) is not None)


async def test_what_somebody_changes_is_changed_back(api: ApiServer) -> None:
    api.put(gateway("gate"))
    await until("its Service", lambda: given_addresses(api))
    found = api.get("deployments", "gate-headgate")
    assert found is not None
    await until("all to be seen", lambda: _watched(api, "deployments"))
    api.put({**found, "spec": {**found["spec"], "replicas": 0}})
    await until(
        "it to have its replicas",
        lambda: (api.get("deployments", "gate-headgate") or {})["spec"]["replicas"] == 1,
    )


def _watched(api: ApiServer, plural: str) -> bool:
    return any(path.endswith(f"/{plural}") and "watch" in query for _, path, query in api.asked)


async def test_what_belongs_to_a_gateway_that_is_gone_stays_away(api: ApiServer) -> None:
    made = gateway("gate")
    api.put(made)
    await until("its Service", lambda: given_addresses(api))
    await until("all to be seen", lambda: _watched(api, "deployments"))
    api.remove(made)
    for each in [each for key, each in api.objects.items() if key[1] in ("services", "deployments")]:
        api.remove(each)
    await asyncio.sleep(0.5)
    assert not services(api) and api.get("deployments", "gate-headgate") is None
