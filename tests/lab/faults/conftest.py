"""What all these tests disturb: three servers in two pools behind one Gateway."""

from collections.abc import Iterator

import pytest
from tests.lab import cluster as lab
from tests.lab.faults.streams import FLEET, NAMESPACE, pool
from tests.live.harness.load import MODEL


@pytest.fixture(scope="session", name="url")
def _url() -> Iterator[str]:
    """Where its HTTPRoutes `closed` (at `/v1`) and `open` (at `/open/v1`) are reached."""
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
