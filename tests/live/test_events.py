"""What a run tells while servers come and go: in its log, in its status, to whoever asks whether it is ready."""

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from tests.live.harness.fleet import Replicas
from tests.live.harness.fleet import replicas as running_replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import HEADGATE, eventually

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def replicas() -> Iterator[Replicas]:
    with running_replicas(2) as made:
        yield made


def health(gate: Gateway, endpoint: str) -> list[str]:
    """The conditions told of an endpoint, in order."""
    told = [each for each in gate.events if each["event"] == "endpoint" and each["endpoint"] == endpoint]
    return [each["condition"] for each in told]


def readyz(gate: Gateway) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(gate.admin + "/readyz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def status(gate: Gateway) -> tuple[int, str]:
    ran = subprocess.run(
        [*HEADGATE, "status", "--admin", gate.admin], capture_output=True, text=True, check=False, timeout=60
    )
    return ran.returncode, ran.stdout


def test_servers_that_fail_and_recover_are_told_of_and_the_status_is_true(replicas: Replicas) -> None:
    first, second = replicas.endpoint(0), replicas.endpoint(1)
    with gateway(*replicas.urls) as gate:
        eventually(lambda: readyz(gate) == (200, {"ready": True, "waiting_for": [], "degraded": []}), 20)
        replicas.fault(0, "crash")
        eventually(lambda: health(gate, first)[-1:] == ["down"], 20)
        half = [{"pool": "default/default", "up": 1, "endpoints": 2}]
        eventually(lambda: readyz(gate) == (200, {"ready": True, "waiting_for": [], "degraded": half}), 20)
        code, text = status(gate)
        assert code == 0
        assert "degraded: default/default 1 of 2" in text

        replicas.fault(1, "crash")
        eventually(lambda: readyz(gate)[0] == 503, 20)
        code, text = status(gate)
        assert code == 1
        assert "not ready, waiting for endpoints" in text
        assert "degraded: default/default 0 of 2" in text

        replicas.fault(0, "recover")
        replicas.fault(1, "recover")
        eventually(lambda: readyz(gate)[0] == 200, 40)
        back = (["up"], ["probing"])
        eventually(lambda: health(gate, first)[-1:] in back and health(gate, second)[-1:] in back, 40)
        assert status(gate)[0] == 0
        assert all({"event", "time"} <= each.keys() for each in gate.events)
    assert [each["event"] for each in gate.events][-1] == "drain"


def test_a_server_that_comes_late_is_told_of(replicas: Replicas) -> None:
    replicas.fault(1, "crash")
    try:
        with gateway(*replicas.urls) as gate:
            replicas.fault(1, "recover")
            joined = gate.wait_event("joined", 30)
            assert joined["replica"]["url"] == replicas.urls[1]
            assert joined["replica"]["engine"] == "vllm"
            eventually(lambda: health(gate, replicas.endpoint(1))[-1:] in (["up"], ["probing"]), 40)
    finally:
        replicas.fault(1, "recover")
