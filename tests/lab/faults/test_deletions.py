"""What is deleted while requests run: those that have begun are served to their end."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.lab import cluster as lab
from tests.lab.faults.streams import NAMESPACE, during, failed, pool, roll, until_served
from tests.live.harness.load import Seen, load, summary

FINALIZER = "gateway-exists-finalizer.gateway.networking.k8s.io"
CLASS = "headgate-extra"
TOKENS = 1500
"""Of a stream that takes seconds."""


def deleted(*what: str) -> float:
    """Delete an object; when that began."""
    at = time.monotonic()
    lab.kubectl("-n", NAMESPACE, "delete", *what, "--wait=false")
    return at


async def long_streams(url: str, what: str, *object_: str) -> tuple[list[Seen], float]:
    """Streams of some seconds while something is deleted, and when that was."""
    at = 0.0

    async def delete() -> None:
        nonlocal at
        await asyncio.sleep(3)
        at = await asyncio.to_thread(deleted, *object_)
        await asyncio.sleep(3)

    seen = await load(url, delete, clients=8, tokens=TOKENS)
    summary(f"{what} deleted", seen)
    return seen, at


async def test_requests_of_a_deleted_pool_end_well(url: str) -> None:
    """New ones are answered with 500, as the Gateway API wants it of a backend that does not exist."""
    await until_served(url)
    try:
        seen, at = await long_streams(url, "a pool", "inferencepool", "closed")
    finally:
        lab.apply(NAMESPACE, pool("closed", "FailClose"))
    begun = [each for each in seen if each.started < at]
    assert len([each for each in begun if each.ended > at + 1]) >= 4, "some were running"
    assert not failed(begun) and not [each for each in seen if each.broken]
    assert {each.status for each in seen} <= {200, 500, 503}
    assert seen[-1].status == 500


async def test_requests_of_a_deleted_gateway_end_well(url: str) -> None:
    """Its Envoy is told to go by whoever runs it, and takes its time."""
    lab.apply(NAMESPACE, lab.gateway("leaving"))
    route = lab.route("leaving", "leaving", {"closed": 1}, "/v1")
    lab.apply(NAMESPACE, route)
    where = f"http://{lab.address(NAMESPACE, 'leaving')}"
    await until_served(where)
    seen, at = await long_streams(where, "a Gateway", "gateway", "leaving")
    lab.kubectl("-n", NAMESPACE, "delete", "httproute", "leaving")
    begun = [each for each in seen if each.started < at]
    assert len([each for each in begun if each.ended > at + 1]) >= 4, "some were running"
    assert not failed(begun) and not [each for each in seen if each.broken]


@pytest.fixture(name="its_class")
def _its_class() -> Iterator[str]:
    spec = {"controllerName": "headgate.dev/gateway-controller"}
    api = "gateway.networking.k8s.io/v1"
    lab.apply("", {"apiVersion": api, "kind": "GatewayClass", "metadata": {"name": CLASS}, "spec": spec})
    yield CLASS
    lab.kubectl("-n", NAMESPACE, "delete", "gateway", "classy", "--ignore-not-found")
    lab.kubectl("delete", "gatewayclass", CLASS, "--ignore-not-found", "--timeout=30s")


def metadata(name: str) -> dict[str, Any]:
    found = lab.get("gatewayclass", "", name)
    return dict(found["metadata"]) if found else {}


async def test_a_class_stays_while_gateways_have_it(url: str, its_class: str) -> None:
    """Deleted, it is there and served until its last Gateway is gone."""
    assert url
    classy = lab.gateway("classy")
    classy["spec"]["gatewayClassName"] = its_class
    lab.apply(NAMESPACE, classy, lab.route("classy", "classy", {"closed": 1}, "/v1"))
    where = f"http://{lab.address(NAMESPACE, 'classy')}"
    lab.until("the finalizer", lambda: FINALIZER in metadata(its_class).get("finalizers", ()))

    def delete() -> None:
        deleted("gatewayclass", its_class)
        assert metadata(its_class)["deletionTimestamp"]
        roll(NAMESPACE, f"classy-{its_class}")  # a new Envoy is told everything, too
        lab.kubectl("-n", lab.SYSTEM, "rollout", "restart", "deployment/headgate-controller")
        lab.kubectl("-n", lab.SYSTEM, "rollout", "status", "deployment/headgate-controller")

    seen = await during(where, "a GatewayClass deleted", delete)
    assert not failed(seen) and len(seen) > 50
    lab.kubectl("-n", NAMESPACE, "delete", "httproute/classy", "gateway/classy")
    lab.until("the class to go", lambda: not metadata(its_class))


def test_a_class_that_no_gateway_has_goes_at_once(url: str, its_class: str) -> None:
    """And one that has been in use is free again."""
    assert url
    classy = lab.gateway("classy")
    classy["spec"]["gatewayClassName"] = its_class
    lab.apply(NAMESPACE, classy)
    lab.until("the finalizer", lambda: FINALIZER in metadata(its_class).get("finalizers", ()))
    lab.kubectl("-n", NAMESPACE, "delete", "gateway", "classy")
    lab.until("the finalizer to go", lambda: not metadata(its_class).get("finalizers"))
    lab.kubectl("delete", "gatewayclass", its_class, "--timeout=30s")
