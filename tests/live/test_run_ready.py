"""What `headgate run` says of its readiness is true when nobody gets much of the processor."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import Gateway, gateway, starting
from tests.live.harness.load import MODEL, one
from tests.live.harness.processes import eventually

pytestmark = pytest.mark.live

POOLS = ("one", "two", "three")


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(2, "--speed", "20", "--model", MODEL) as started:
        yield started


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute, for at most two minutes."""
    program = "import time\nend = time.monotonic() + 120\nwhile time.monotonic() < end: pass"
    working = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(count)]
    try:
        yield
    finally:
        for process in working:
            process.kill()
            process.wait()


def objects(folder: Path, urls: list[str]) -> Path:
    """Three pools that serve nothing without the picker, each behind its own path, over the same servers."""
    rewrite = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}}
    filters = [{"type": "URLRewrite", "urlRewrite": rewrite}]
    rules = [manifest.rule(name, path=f"/{name}", filters=filters) for name in POOLS]
    return manifest.write(
        folder / "pools.yaml",
        manifest.gateway(),
        manifest.route(*rules),
        *(manifest.pool(name, "FailClose", app="llm") for name in POOLS),
        *manifest.model_servers(urls, app="llm"),
    )


async def statuses(url: str) -> list[int | None]:
    """What the first request to each pool meets."""
    async with aiohttp.ClientSession() as http:
        return [(await one(http, f"{url}/{name}", stream=False, tokens=2)).status for name in POOLS]


async def test_the_first_request_to_each_pool_is_answered_under_load(fleet: Replicas, tmp_path: Path) -> None:
    with busy(4), starting("-f", str(objects(tmp_path, fleet.urls))) as gate:
        gate.info = gate.wait_event("ready", 100)
        assert await statuses(gate.url) == [200, 200, 200]


def back(gate: Gateway, child: str, before: int) -> bool:
    return gate.pid(child) not in (None, before) and gate.ready()


async def test_ready_again_means_answered_again(fleet: Replicas, tmp_path: Path) -> None:
    with gateway("-f", str(objects(tmp_path, fleet.urls))) as gate:
        for child in ("picker", "envoy"):
            before = gate.pid(child)
            assert before is not None
            with busy(2):
                os.kill(before, signal.SIGKILL)
                eventually(partial(back, gate, child, before), 60)
                assert await statuses(gate.url) == [200, 200, 200]


def test_ready_behind_a_redirect_and_beside_a_port_that_another_program_has(tmp_path: Path) -> None:
    """What the redirect leads to answers nobody here; one listener of two cannot be opened."""
    away = {"scheme": "https", "hostname": "away.invalid", "statusCode": 301}
    filters = [{"type": "RequestRedirect", "requestRedirect": away}]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        closed = manifest.gateway("closed")
        closed["spec"]["listeners"][0]["port"] = port
        file = manifest.write(
            tmp_path / "redirect.yaml",
            manifest.gateway(),
            closed,
            manifest.manifest(
                "HTTPRoute", "r", {"parentRefs": [{"name": "gate"}], "rules": [{"filters": filters}]}
            ),
        )
        with gateway("-f", str(file)) as gate:
            (told,) = [each for each in gate.problems() if each["reason"] == "RefusedByEnvoy"]
            assert told["place"]["object"] == f"listener port-{port}" and "in use" in told["message"]
            with socket.create_connection(("127.0.0.1", gate.info["ports"]["gateway"]), 5) as opened:
                opened.sendall(b"GET /a HTTP/1.1\r\nhost: x\r\n\r\n")
                assert opened.recv(4096).startswith(b"HTTP/1.1 301")
