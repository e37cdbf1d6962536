"""Running streams while something happens to what serves them, and what their clients met."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path

from tests.lab import cluster as lab
from tests.live.harness.load import Seen, load, summary
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


async def during(url: str, what: str, fault: Callable[[], object], after_s: float = 3.0) -> list[Seen]:
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
    """For a moment."""
    await asyncio.sleep(0.2)


def failed(seen: list[Seen]) -> list[Seen]:
    """Those that were not served to their end."""
    return [each for each in seen if each.status != 200 or each.broken]


def kill(app: str) -> None:
    """All Pods of a part of Headgate, at once and without a word."""
    which = ("pods", "-l", f"app.kubernetes.io/name={app}")
    lab.kubectl("-n", lab.SYSTEM, "delete", *which, "--grace-period=0", "--force", "--wait=false")
    rolled(lab.SYSTEM, app)


def rolled(namespace: str, deployment: str) -> None:
    """Wait until a Deployment is as it should be."""
    where = ("-n", namespace, "rollout", "status", f"deployment/{deployment}", "--timeout=90s")
    lab.kubectl(*where)


def roll(namespace: str, deployment: str) -> None:
    """Restart a Deployment, Pod by Pod."""
    lab.kubectl("-n", namespace, "rollout", "restart", f"deployment/{deployment}")
    rolled(namespace, deployment)


def pid_of(program: str) -> int:
    """Of one of the lab's own programs."""
    return int((Path(os.environ["KLAB_RUN"]) / "pid" / program).read_text())
