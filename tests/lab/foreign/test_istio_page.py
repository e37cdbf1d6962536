"""docs/migrating/from-istio.md: what the page says there was before, with Istio's gateway, and our picker in the old one's place."""

import asyncio
from collections.abc import Iterator

import aiohttp
import pytest
from tests.lab import cluster as lab
from tests.lab.foreign import istio
from tests.live.harness.load import MODEL
from tests.live.test_migrating_pages import FOLDER, manifests, of

NAMESPACE = "lab-istio-page"
PAGE = FOLDER / "from-istio.md"
GATEWAY = "inference-gateway-istio"
"""What Istio calls the Deployment and the Service of the page's Gateway."""


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    """Everything of the page, and a picker of ours behind the Service of the old picker's name."""
    before, [pool] = manifests(PAGE, "before"), of(manifests(PAGE, "after"), "InferencePool")
    name, picker = pool["metadata"]["name"], pool["spec"]["endpointPickerRef"]
    port = pool["spec"]["targetPorts"][0]["number"]
    [app] = pool["spec"]["selector"]["matchLabels"].values()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": picker["name"]},
        "spec": {
            "selector": {"app.kubernetes.io/instance": name, "app.kubernetes.io/name": "headgate-picker"},
            "ports": [{"port": picker["port"]["number"], "appProtocol": "http2"}],
        },
    }
    with lab.namespace(NAMESPACE):
        lab.apply(NAMESPACE, istio.servers(app, 2, port), pool, service, *before)
        istio.install(NAMESPACE, name)
        lab.available(NAMESPACE)
        yield f"http://{GATEWAY}.{NAMESPACE}.svc.cluster.local/v1/completions"


async def ask(url: str, **headers: str) -> tuple[int, str | None]:
    """Status, and the endpoint that the picker's header names."""
    body = {"model": MODEL, "prompt": "hello", "max_tokens": 2}
    async with aiohttp.ClientSession() as http, http.post(url, json=body, headers=headers) as answer:
        return answer.status, answer.headers.get("x-headgate-endpoint")


def test_overlays_come_from_the_config_map(url: str) -> None:
    del url
    deployment, service = lab.get("deployment", NAMESPACE, GATEWAY), lab.get("service", NAMESPACE, GATEWAY)
    assert (deployment["spec"]["replicas"], service["spec"]["type"]) == (2, "ClusterIP")


async def test_a_request_authentication_alone_lets_in_who_shows_nothing(url: str) -> None:
    async def until(status: int, **headers: str) -> str | None:
        for _ in range(100):
            got, endpoint = await ask(url, **headers)
            if got == status:
                return endpoint
            await asyncio.sleep(0.2)
        raise AssertionError(f"{got} in place of {status}")

    await until(403)
    lab.kubectl("-n", NAMESPACE, "delete", "authorizationpolicy", "staff")
    assert await until(200), "our picker was asked, by the page's DestinationRule"
    assert (await ask(url, authorization="Bearer a.b.c"))[0] == 401
