"""What a cluster lacks, told by what its API server answers."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from tests.api_server import ApiServer

from headgate.io.kube.client import ApiError, KubeClient
from headgate.io.kube.config import Access
from headgate.io.kube.doctor import Doctor


@pytest.fixture
async def api() -> AsyncIterator[ApiServer]:
    async with ApiServer().running() as server:
        yield server


async def findings(api: ApiServer) -> Mapping[str, tuple[str, str]]:
    async with KubeClient(Access(server=api.url)) as client:
        return {each.what: (each.state, each.message) async for each in Doctor(client).findings()}


def deployment(name: str, ready: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "headgate-system"},
        "spec": {"replicas": 2},
        "status": {"readyReplicas": ready},
    }


def install(api: ApiServer, *, accepted: str = "True", ready: int = 2) -> None:
    api.put(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "headgate"},
            "spec": {"controllerName": "headgate.dev/gateway-controller"},
            "status": {"conditions": [{"type": "Accepted", "status": accepted, "message": "odd"}]},
        }
    )
    for name in ("headgate-controller", "headgate-picker"):
        api.put(deployment(name, ready))
    api.put(
        {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "headgate-controller", "namespace": "headgate-system"},
            "spec": {"holderIdentity": "one"},
        }
    )


async def test_nothing_is_installed(api: ApiServer) -> None:
    api.kinds = {"v1": api.kinds["v1"], "apps/v1": api.kinds["apps/v1"]}
    found = await findings(api)
    assert found["API server"][0] == found["kinds of the core"][0] == "ok"
    for group in ("gateway.networking.k8s.io", "inference.networking.k8s.io", "headgate.dev"):
        state, message = found[f"kinds of {group}"]
        assert state == "error" and "install the" in message
    assert found["kinds of llm-d.ai"][0] == "note"
    assert found["GatewayClass"][0] == "error"
    assert found["Deployment headgate-system/headgate-picker"][0] == "error"
    assert "Lease" not in found  # of nobody


async def test_all_is_well(api: ApiServer) -> None:
    install(api)
    found = await findings(api)
    for what in ("GatewayClass", "Deployment headgate-system/headgate-controller", "Lease"):
        assert found[what][0] == "ok", found[what]
    assert found["rights of headgate-controller"][0] == found["rights of headgate-picker"][0] == "ok"


async def test_what_is_there_and_does_not_work_is_told(api: ApiServer) -> None:
    install(api, accepted="False", ready=0)
    api.refused["httproutes"] = 403
    found = await findings(api)
    assert found["GatewayClass"] == ("error", "headgate is not accepted: odd")
    assert found["Deployment headgate-system/headgate-picker"][0] == "error"
    state, message = found["rights of headgate-controller"]
    assert state == "error" and "list httproutes.gateway.networking.k8s.io" in message
    assert found["rights of headgate-picker"][0] == "ok"


async def test_a_server_that_is_away_is_an_error(api: ApiServer) -> None:
    api.away = True
    with pytest.raises(ApiError):
        await findings(api)
