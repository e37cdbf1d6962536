"""What clients of running streams notice of what happens around them on a cluster: nothing, or what must be."""

import os
import signal
import time

from tests.lab import cluster as lab
from tests.lab.faults.streams import NAMESPACE, during, failed, kill, pid_of, pool, roll

AWAY_S = 60


async def test_controllers_are_killed(url: str) -> None:
    seen = await during(url, "controllers killed", lambda: kill("headgate-controller"))
    assert not failed(seen) and len(seen) > 50


async def test_the_api_server_is_away(url: str) -> None:
    pid = pid_of("kube-apiserver")

    def away() -> None:
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(AWAY_S)
        finally:
            os.kill(pid, signal.SIGCONT)

    seen = await during(url, "the API server away for 60 s", away, 10.0)
    assert not failed(seen) and len(seen) > 50


async def test_the_picker_is_rolled(url: str) -> None:
    def rolled() -> None:
        roll(lab.SYSTEM, "headgate-picker")

    seen = await during(url, "picker rolled", rolled, 10.0)  # the old one takes requests for 5 s more
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
    assert {each.status for each in failed(seen)} <= {500, 503}
    assert not [each for each in seen if each.broken], "what has begun is served to its end"
    assert not failed([seen[-1]])
