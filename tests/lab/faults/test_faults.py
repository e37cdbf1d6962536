"""What clients of running streams notice of what happens around them on a cluster: nothing, or what must be."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.lab import cluster as lab
from tests.live.harness.load import MODEL, Seen, load, summary
from tests.manifests import Manifest

NAMESPACE = "lab-faults"
FLEET = "ghcr.io/headgate/headgate-fleet:lab"


def pool(name: str, mode: str) -> Manifest:
    """A pool of the servers, picked for by Headgate's own picker."""
    return {
        "apiVersion": "inference.networking.k8s.io/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": "llm"}},
            "targetPorts": [{"number": 3000}],
            "endpointPickerRef": {"name": "headgate-picker", "port": {"number": 9002}, "failureMode": mode},
        },
    }


@pytest.fixture(scope="module", name="url")
def _url() -> Iterator[str]:
    args = ["--replicas", "1", "--port-base", "3000", "--host", "0.0.0.0", "--model", MODEL, "--speed", "5"]
    with lab.namespace(NAMESPACE):
        servers = lab.deployment("llm", FLEET, 3000, 3, args=args)
        rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v1"}}
        opened = lab.route("open", "gate", {"open": 1}, "/open/v1")
        opened["spec"]["rules"][0]["filters"] = [{"type": "URLRewrite", "urlRewrite": rewrite}]
        servers["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30
        lab.apply(
            NAMESPACE,
            servers,
            pool("closed", "FailClose"),
            pool("open", "FailOpen"),
            lab.gateway("gate"),
            lab.route("closed", "gate", {"closed": 1}, "/v1"),
            opened,
        )
        lab.available(NAMESPACE)
        yield f"http://{lab.address(NAMESPACE, 'gate')}"


async def during(url: str, what: str, fault: Callable[[], None], after_s: float = 3.0) -> list[Seen]:
    """Streams before, while and after something happens."""
    await until_served(url)

    async def happening() -> None:
        await asyncio.sleep(1)
        await asyncio.to_thread(fault)
        await asyncio.sleep(after_s)

    found = await load(url, happening, clients=8)
    summary(what, found)
    return found


async def until_served(url: str) -> None:
    """Wait until eight streams in turn are served."""
    for _ in range(60):
        seen = await load(url, nothing, clients=2)
        if not failed(seen):
            return
        await asyncio.sleep(0.5)
    raise AssertionError(f"not served: {seen[-1]}")


async def nothing() -> None:
    await asyncio.sleep(0.2)


def failed(seen: list[Seen]) -> list[Seen]:
    return [each for each in seen if each.status != 200 or each.broken]


def kill(app: str) -> None:
    """All Pods of a part of Headgate, at once and without a word."""
    which = ("pods", "-l", f"app.kubernetes.io/name={app}")
    lab.kubectl("-n", lab.SYSTEM, "delete", *which, "--grace-period=0", "--force", "--wait=false")
    lab.kubectl("-n", lab.SYSTEM, "rollout", "status", f"deployment/{app}", "--timeout=60s")


async def test_controllers_are_killed(url: str) -> None:
    seen = await during(url, "controllers killed", lambda: kill("headgate-controller"))
    assert not failed(seen) and len(seen) > 50


async def test_the_api_server_is_away(url: str) -> None:
    pid = int((Path(os.environ["KLAB_RUN"]) / "pid" / "kube-apiserver").read_text())

    def away() -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(15)
        finally:
            os.kill(pid, signal.SIGCONT)

    seen = await during(url, "the API server away for 15 s", away, 10.0)
    assert not failed(seen) and len(seen) > 50


async def test_the_picker_is_rolled(url: str) -> None:
    def roll() -> None:
        lab.kubectl("-n", lab.SYSTEM, "rollout", "restart", "deployment/headgate-picker")
        lab.kubectl("-n", lab.SYSTEM, "rollout", "status", "deployment/headgate-picker", "--timeout=90s")

    seen = await during(url, "picker rolled", roll, 10.0)  # the old one takes requests for 5 s more
    assert not failed(seen) and len(seen) > 50


async def test_a_pool_that_fails_open_is_served_while_the_picker_is_killed(url: str) -> None:
    seen = await during(f"{url}/open", "picker killed, FailOpen", lambda: kill("headgate-picker"))
    assert len(failed(seen)) <= 8 and len(seen) > 50, "only requests that were in its hands"


async def test_servers_come_and_go(url: str) -> None:
    def churn() -> None:
        for replicas in (1, 3, 2, 3):
            lab.kubectl("-n", NAMESPACE, "scale", "deployment/llm", f"--replicas={replicas}")
            lab.available(NAMESPACE)

    seen = await during(url, "servers scaled 3, 1, 3, 2, 3", churn)
    assert not failed(seen) and len(seen) > 50


async def test_a_pool_is_deleted_and_made_again(url: str) -> None:
    def again() -> None:
        lab.kubectl("-n", NAMESPACE, "delete", "inferencepool", "closed")
        lab.apply(NAMESPACE, pool("closed", "FailClose"))

    seen = await during(url, "pool deleted and made again", again)
    assert {each.status for each in failed(seen)} <= {500, 503} and not seen[-1].broken
    assert not failed([seen[-1]])
