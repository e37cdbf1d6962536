"""docs/migrating/from-istio.md: whom a rule's pools ask, with Istio's gateway and with ours; objects of both side by side."""

import asyncio
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
from tests.lab import cluster as lab
from tests.lab.foreign import istio
from tests.live.harness.load import one

NAMESPACE = "lab-istio-routes"
POOLS = ("a", "b")
COUNT = 40


def pool(name: str) -> dict[str, Any]:
    return {"group": istio.POOL_GROUP, "kind": "InferencePool", "name": name}


SERVICE = {"name": "b", "port": 80}
RULES: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {
    "pools": ([pool("a"), pool("b")], []),
    "pool-service": ([pool("a"), SERVICE], []),
    "service-pool": ([SERVICE, pool("a")], []),
    "cors": ([pool("a")], [{"type": "CORS", "cors": {"allowOrigins": ["https://example.com"]}}]),
}
"""Backends and filters."""


@pytest.fixture(scope="module", name="urls")
def _urls() -> Iterator[dict[str, str]]:
    """Where the routes are reached: Istio's gateway and ours."""
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}}
    with lab.namespace(NAMESPACE):
        for name in POOLS:
            lab.apply(NAMESPACE, istio.servers(name, 2), istio.pool(name, name, "FailClose"))
            istio.install(NAMESPACE, name, "picker.destinationRule=true")
        routes = [lab.route(name, "istio", {}, f"/{name}/v1") for name in RULES]
        for each, (backends, filters) in zip(routes, RULES.values(), strict=True):
            each["spec"]["parentRefs"] = [{"name": "istio"}, {"name": "ours"}]
            (rule,) = each["spec"]["rules"]
            rule["backendRefs"] = backends
            rule["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}, *filters]
        lab.apply(
            NAMESPACE,
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": "b"},
                "spec": {"selector": {"app": "b"}, "ports": [{"port": 80, "targetPort": istio.PORT}]},
            },
            lab.gateway("istio", gatewayClassName="istio"),
            lab.gateway("ours"),
            *routes,
        )
        lab.available(NAMESPACE)
        yield {name: f"http://{lab.address(NAMESPACE, name)}" for name in ("istio", "ours")}


async def seen(url: str) -> tuple[dict[str, int], dict[str, int]]:
    """Requests that the servers of each pool answered, and that each pool's picker was asked about."""

    def now() -> tuple[dict[str, int], dict[str, int]]:
        answered = {name: sum(istio.answered(NAMESPACE, name).values()) for name in POOLS}
        asked = {name: len(istio.asked(NAMESPACE, name, "/v1/decisions?limit=1000")) for name in POOLS}
        return answered, asked

    async with aiohttp.ClientSession() as http:
        for _ in range(150):
            if (await one(http, url, stream=False, tokens=2)).status == 200:
                break
            await asyncio.sleep(0.2)
        before = await asyncio.to_thread(now)
        found = [await one(http, url, stream=False, tokens=2) for _ in range(COUNT)]
    assert {each.status for each in found} == {200}
    after = await asyncio.to_thread(now)
    answered, asked = (
        {name: new[name] - old[name] for name in POOLS} for old, new in zip(before, after, strict=True)
    )
    print(f"\n{url}: answered by {answered}, asked {asked}")
    assert sum(answered.values()) == COUNT
    return answered, asked


async def test_istio_asks_the_picker_of_a_rule_s_last_pool(urls: dict[str, str]) -> None:
    answered, asked = await seen(f"{urls['istio']}/pools")
    assert min(answered.values()) > 0 and asked == {"a": 0, "b": COUNT}
    answered, asked = await seen(f"{urls['istio']}/service-pool")
    assert min(answered.values()) > 0 and asked == {"a": COUNT, "b": 0}


@pytest.mark.parametrize("name", ["pool-service", "cors"])
async def test_istio_asks_no_picker(name: str, urls: dict[str, str]) -> None:
    answered, asked = await seen(f"{urls['istio']}/{name}")
    assert answered["a"] > 0 and asked == {"a": 0, "b": 0}


@pytest.mark.parametrize("name", RULES)
async def test_our_gateway_asks_the_picker_of_each_pool(name: str, urls: dict[str, str]) -> None:
    answered, asked = await seen(f"{urls['ours']}/{name}")
    own = {each["name"] for each in RULES[name][0] if "kind" in each}
    assert asked == {each: answered[each] if each in own else 0 for each in POOLS}


def test_each_controller_leaves_the_other_s_status_alone(urls: dict[str, str]) -> None:
    del urls  # all is there

    def parents() -> set[str]:
        found = lab.get("inferencepools.inference.networking.k8s.io", NAMESPACE, "a")["status"]["parents"]
        return {each["parentRef"]["name"] for each in found}

    lab.until("both gateways in the pool's status", lambda: parents() == {"istio", "ours"})
    lab.kubectl("-n", NAMESPACE, "annotate", "inferencepools.inference.networking.k8s.io", "a", "touched=yes")
    routes = lab.get("httproute", NAMESPACE, "pools")["status"]["parents"]
    controllers = {"istio.io/gateway-controller", "headgate.dev/gateway-controller"}
    assert {each["controllerName"] for each in routes} == controllers
    assert parents() == {"istio", "ours"}


def test_the_shadow_service_of_a_pool_stays_as_long_as_the_pool(urls: dict[str, str]) -> None:
    del urls
    kind = "inferencepools.inference.networking.k8s.io"

    def shadow() -> list[dict[str, Any]]:
        return lab.listed("services", NAMESPACE, **{"istio.io/inferencepool-name": "left"})

    lab.apply(
        NAMESPACE, istio.pool("left", "a", "FailClose"), lab.route("left", "istio", {"left": 1}, "/left")
    )
    lab.until("the shadow Service", shadow)
    lab.kubectl("-n", NAMESPACE, "delete", "httproute", "left")
    lab.until(
        "no gateway of the pool",
        lambda: not lab.get(kind, NAMESPACE, "left").get("status", {}).get("parents"),
    )
    assert shadow()
    lab.kubectl("-n", NAMESPACE, "delete", kind, "left")
    lab.until("its end", lambda: not shadow())
