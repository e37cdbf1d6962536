"""Servers scaled to nothing and back under load: requests are refused with the reason, or wait as a policy says."""

import asyncio
import time
from collections.abc import Iterator

import aiohttp
import pytest
from tests.lab import cluster as lab
from tests.lab.faults.streams import FLEET, NAMESPACE, during, failed, nothing, pool
from tests.live.harness.load import MODEL, load

SERVERS = 4
GATE, NAME = "scaled-gate", "scaled"
POLICY = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "FlowPolicy",
    "metadata": {"name": "patient"},
    "spec": {"targetRefs": [{"name": NAME}], "holdEmpty": "50s"},
}


def scale(replicas: int) -> None:
    """So many servers, and wait until it is so."""
    lab.kubectl("-n", NAMESPACE, "scale", f"deployment/{NAME}", f"--replicas={replicas}")
    lab.available(NAMESPACE)
    lab.until(f"{replicas} servers", lambda: len(lab.listed("pods", NAMESPACE, app=NAME)) == replicas)


@pytest.fixture(scope="module", name="four")
def _four(url: str) -> Iterator[str]:
    """Where four servers are reached. As Pods should, they take requests for a while after they were told to end."""
    assert url
    args = ["--replicas", "1", "--port-base", "3000", "--host", "0.0.0.0", "--model", MODEL, "--speed", "5"]
    servers = lab.deployment(NAME, FLEET, 3000, SERVERS, args=[*args, "--drain-delay", "3s"])
    servers["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30
    served = pool(NAME, "FailClose")
    served["spec"]["selector"]["matchLabels"]["app"] = NAME
    lab.apply(NAMESPACE, servers, served, lab.gateway(GATE), lab.route(NAME, GATE, {NAME: 1}, "/v1"))
    lab.available(NAMESPACE)
    yield f"http://{lab.address(NAMESPACE, GATE)}"
    objects = ("deployment/scaled", "inferencepool/scaled", f"gateway/{GATE}", "httproute/scaled")
    lab.kubectl("-n", NAMESPACE, "delete", *objects)


async def all_serve(url: str) -> None:
    """Wait until each of the servers has answered, and nobody fails."""
    pods = lab.listed("pods", NAMESPACE, app=NAME)
    wanted = {f"{each['status']['podIP']}:3000" for each in pods}
    assert len(wanted) == SERVERS
    served: set[str | None] = set()
    for _ in range(100):
        seen = await load(url, nothing, clients=8)
        assert not failed(seen)
        served |= {each.endpoint for each in seen}
        if served >= wanted:
            break
    assert served == wanted


def asked_once(url: str) -> lab.Answer:
    """What a request meets now."""

    async def ask() -> lab.Answer:
        async with aiohttp.ClientSession() as http:
            return await lab.ask(http, f"{url}/v1/completions")

    return asyncio.run(ask())


async def test_an_empty_pool_refuses_and_says_why(four: str) -> None:
    empty: list[lab.Answer] = []

    def there_and_back() -> None:
        scale(0)
        empty.append(asked_once(four))
        time.sleep(3)
        scale(SERVERS)

    seen = await during(four, f"servers scaled {SERVERS}, 0, {SERVERS}", there_and_back)
    refused = failed(seen)
    assert refused and not [each for each in seen if each.broken]
    assert {(each.status, each.reason) for each in refused} == {(503, "no-endpoints")}
    [answer] = empty
    headers = {name.lower(): value for name, value in answer.headers.items()}
    assert answer.status == 503 and int(headers["retry-after"]) > 0
    assert b"lab-faults/scaled has no endpoint" in answer.body
    await all_serve(four)


async def test_requests_wait_for_a_pool_that_is_empty_where_a_policy_says_so(four: str) -> None:
    lab.apply(NAMESPACE, POLICY)
    lab.kubectl("-n", NAMESPACE, "wait", "--for=condition=Accepted", "flowpolicy/patient", "--timeout=30s")

    def there_and_back() -> None:
        scale(0)
        time.sleep(3)
        scale(SERVERS)

    seen = await during(four, f"servers scaled {SERVERS}, 0, {SERVERS}, holdEmpty", there_and_back)
    assert not failed(seen) and len(seen) > 50
    assert max(each.ended - each.started for each in seen) > 3, "some have waited"
    await all_serve(four)
    lab.kubectl("-n", NAMESPACE, "delete", "flowpolicy", "patient")
