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


async def findings(api: ApiServer, release: str = "headgate") -> Mapping[str, tuple[str, str]]:
    async with KubeClient(Access(server=api.url)) as client:
        doctor = Doctor(client, release=release)
        return {each.what: (each.state, each.message) async for each in doctor.findings()}


def deployment(name: str, ready: int, *args: str) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "headgate-system"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"args": list(args)}]}}},
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


@pytest.mark.parametrize(
    "args", [("--controller-name=example.com/ours",), ("--controller-name", "example.com/ours")]
)
async def test_the_class_is_that_of_the_controller_that_is_installed(
    api: ApiServer, args: tuple[str, ...]
) -> None:
    install(api)
    api.put(deployment("headgate-controller", 2, "controller", *args))
    state, message = (await findings(api))["GatewayClass"]
    assert (state, "example.com/ours: make one" in message) == ("error", True)
    api.put(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": {"name": "by-another-name"},
            "spec": {"controllerName": "example.com/ours"},
            "status": {"conditions": [{"type": "Accepted", "status": "True"}]},
        }
    )
    assert (await findings(api))["GatewayClass"] == ("ok", "by-another-name is accepted")


async def test_a_release_has_names_of_its_own(api: ApiServer) -> None:
    install(api)
    found = await findings(api, "other")
    state, message = found["Deployment headgate-system/other-controller"]
    assert state == "error" and "--release" in message
    for name in ("other-controller", "other-picker"):
        api.put(deployment(name, 2))
    found = await findings(api, "other")
    assert found["Deployment headgate-system/other-picker"][0] == "ok"
    state, message = found["Lease"]
    assert state == "error" and message.endswith("kubectl -n headgate-system logs deploy/other-controller")
    assert found["rights of other-picker"][0] == "ok"


async def test_what_is_there_and_does_not_work_is_told(api: ApiServer) -> None:
    install(api, accepted="False", ready=0)
    api.refused["httproutes"] = 403
    found = await findings(api)
    assert found["GatewayClass"] == ("error", "headgate is not accepted: odd")
    assert found["Deployment headgate-system/headgate-picker"][0] == "error"
    state, message = found["rights of headgate-controller"]
    assert state == "error" and "list httproutes.gateway.networking.k8s.io" in message
    assert found["rights of headgate-picker"][0] == "ok"


async def test_an_installation_without_a_picker_lacks_none(api: ApiServer) -> None:
    install(api)
    api.remove(deployment("headgate-picker", 2))
    told = "--picker-address=headgate-picker.headgate-system.svc:9002"
    api.put(deployment("headgate-controller", 2, "controller", told))
    found = await findings(api)
    assert found["Deployment headgate-system/headgate-picker"][0] == "error", "it should be there"
    api.put(deployment("headgate-controller", 2, "controller", "--in-cluster"))
    found = await findings(api)
    state, message = found["Deployment headgate-system/headgate-picker"]
    assert state == "note" and "picker.enabled=false" in message
    assert found["rights of headgate-controller"][0] == "ok" and "rights of headgate-picker" not in found
    assert not [each for each, (state, _) in found.items() if state == "error"]


async def test_pools_of_the_former_group_are_enough(api: ApiServer) -> None:
    install(api)
    api.kinds.pop("inference.networking.k8s.io/v1")
    what = "kinds of inference.networking.k8s.io"
    assert (await findings(api))[what][0] == "error"
    pools = ("inferencepools", "InferencePool")
    api.kinds["inference.networking.x-k8s.io/v1alpha2"] += (pools,)
    state, message = (await findings(api))[what]
    assert state == "note" and message.endswith("those of inference.networking.x-k8s.io are, and are served")


async def test_a_server_that_is_away_is_an_error(api: ApiServer) -> None:
    api.away = True
    with pytest.raises(ApiError):
        await findings(api)
