"""https model servers: whose certificates are taken, by probes, scrapes and Envoy alike."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.certificates import Authority, server_tls
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.model_server import ScriptedModelServer

from headgate.model import headers

pytestmark = pytest.mark.live


class Signed:
    """A model server on `https://localhost` and the file of the CA that signed it."""

    def __init__(self, folder: Path, name: str) -> None:
        authority = Authority()
        self.ca = folder / f"{name}.pem"
        self.ca.write_bytes(authority.pem)
        self.server = ScriptedModelServer(server_tls(folder / name, authority.sign("localhost")))
        self.url = f"https://localhost:{self.server.port}"


@pytest.fixture
async def servers(tmp_path: Path) -> AsyncIterator[list[Signed]]:
    """Three, of three authorities that no system knows."""
    made = [Signed(tmp_path, name) for name in ("one", "two", "three")]
    async with contextlib.AsyncExitStack() as stack:
        for each in made:
            await stack.enter_async_context(each.server.running())
        yield made


async def ask(running: Gateway, path: str = "") -> tuple[int, str | None, Any]:
    """Status, reason and body of one completion."""
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{running.url}{path}/v1/completions", json={"model": "m", "prompt": "x"}) as answer,
    ):
        return answer.status, answer.headers.get(headers.REASON), await answer.json()


@contextlib.asynccontextmanager
async def run(*args: str) -> AsyncIterator[Gateway]:
    """`headgate run`, started and ended off the loop that serves the model servers."""
    with contextlib.ExitStack() as stack:
        made = await asyncio.to_thread(stack.enter_context, gateway(*args))
        try:
            yield made
        finally:
            await asyncio.to_thread(stack.close)


async def test_an_unknown_certificate_is_told_and_may_be_taken_on_purpose(servers: list[Signed]) -> None:
    async with run(servers[0].url) as running:
        (probed,) = [event for event in running.events if event["event"] == "probed"]
        assert "certificate" in probed["replicas"][0]["error"]
        status, reason, body = await ask(running)
        assert (status, reason) == (503, "bad-certificate")
        assert "certificate" in body["error"]["message"]
    async with run(servers[0].url, "--insecure-upstream") as running:
        assert (await ask(running))[0] == 200
        assert not running.problems()


async def test_each_server_may_have_its_own_ca_and_the_others_go_by_the_machines(
    servers: list[Signed], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, loose, usual = servers
    found = [manifest.model_server(name, each.url, name) for name, each in zip("abc", servers, strict=True)]
    found[0]["spec"]["tls"] = {"caFile": str(own.ca)}
    found[1]["spec"]["tls"] = {"insecureSkipVerify": True}
    monkeypatch.setenv("SSL_CERT_FILE", str(usual.ca))
    file = manifest.write(
        tmp_path / "all.yaml",
        manifest.gateway(),
        manifest.route(*(manifest.rule(name, path=f"/{name}") for name in "abc")),
        *(manifest.pool(name) for name in "abc"),
        *found,
    )
    async with run("-f", str(file)) as running:
        assert [(await ask(running, f"/{name}"))[0] for name in "abc"] == [200, 200, 200]
        states = [each for pool in running.pools() for each in pool["endpoints"]]
        assert [each["endpoint"] for each in states if "tls" in str(each)] == []
    async with run("-f", str(file), "--upstream-ca", str(loose.ca)) as running:
        asked = [await ask(running, f"/{name}") for name in "abc"]
        assert [each[:2] for each in asked] == [(200, None), (200, None), (503, "bad-certificate")]
