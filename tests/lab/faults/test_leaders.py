"""Who writes goes away, or is silent: what is served stays served, and the other goes on with the writing."""

import json
import os
import signal
import time

from tests.lab import cluster as lab
from tests.lab.faults.streams import NAMESPACE, during, failed

LEASE = "headgate-controller"
PATIENCE_S = 40.0
"""Longer than a Lease is held by who is silent."""


def holder() -> str:
    spec = lab.get("lease", lab.SYSTEM, LEASE)["spec"]
    return str(spec["holderIdentity"])


def another_than(before: str) -> str:
    """Wait until another controller leads; who."""

    def found() -> str:
        now = holder()
        return now if now not in ("", before, "somebody") else ""

    return str(lab.until(f"somebody else than {before} to lead", found, PATIENCE_S))


def programmed(name: str) -> None:
    """A new Gateway gets its Envoy, its address and its conditions; then it goes."""
    lab.apply(NAMESPACE, lab.gateway(name))
    lab.address(NAMESPACE, name)
    lab.kubectl("-n", NAMESPACE, "delete", "gateway", name)


async def test_the_leader_hangs(url: str) -> None:
    """Its process answers nothing any more; when it goes on, it does not believe that it leads."""
    before = lab.until("somebody to lead", holder)
    pid = int(before.split("_")[1])

    def hang() -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            another_than(before)
            programmed("while-it-hangs")
        finally:
            os.kill(pid, signal.SIGCONT)
        time.sleep(5)
        assert holder() != before
        programmed("after-it-hung")

    seen = await during(url, "the leading controller hangs", hang)
    assert not failed(seen) and len(seen) > 50


async def test_the_lease_is_taken_over(url: str) -> None:
    """By somebody who is not a controller, and who then does nothing: for so long nobody writes."""
    before = lab.until("somebody to lead", holder)

    def take() -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime())
        spec = {"holderIdentity": "somebody", "renewTime": now, "acquireTime": now}
        patch = json.dumps({"spec": spec})
        lab.kubectl("-n", lab.SYSTEM, "patch", "lease", LEASE, "--type=merge", "-p", patch)
        another_than("somebody")
        programmed("after-the-takeover")

    seen = await during(url, f"the Lease of {before} is taken over", take)
    assert not failed(seen) and len(seen) > 50


async def test_the_leader_is_killed(url: str) -> None:
    """A killed process lets go of nothing, and the other waits until the Lease is free."""
    before = lab.until("somebody to lead", holder)

    def kill() -> None:
        os.kill(int(before.split("_")[1]), signal.SIGKILL)
        another_than(before)
        programmed("after-its-death")

    seen = await during(url, "the leading controller killed", kill)
    assert not failed(seen) and len(seen) > 50
