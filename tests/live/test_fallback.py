"""From a pool without an endpoint to another backend, and back, through the real Envoy and our own picker."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from tests import manifests as manifest
from tests.live.harness.echo import echoing, service
from tests.live.harness.lab import lab
from tests.manifests import Manifest

pytestmark = pytest.mark.live

ANNOTATION = "headgate.dev/fallback"


def with_fallback(name: str, to: str, mode: str = "FailClose") -> Manifest:
    found = manifest.pool(name, mode)
    found["metadata"]["annotations"] = {ANNOTATION: to}
    return found


def by_model(pool: str) -> Manifest:
    match = {"headers": [{"name": "X-Gateway-Model-Name", "value": pool}]}
    return manifest.rule(pool, matches=[match])


@pytest.mark.parametrize("modelled", [False, True])
async def test_a_pool_without_endpoint_is_stood_in_for(tmp_path: Path, modelled: bool) -> None:
    dead = 1  # nobody listens there
    async with echoing("first") as first, echoing("second") as second, echoing("plain") as plain:
        backed = with_fallback("backed", "InferencePool/other")
        served = with_fallback("served", "Service/plain:80")
        alone = manifest.pool("alone")
        rules = [manifest.rule(each, path=f"/{each}") for each in ("backed", "served", "alone", "other")]
        if modelled:
            rules = [by_model(each) for each in ("backed", "served", "alone", "other")]
        objects = [
            manifest.gateway(),
            manifest.route(*rules),
            backed,
            served,
            alone,
            manifest.pool("other"),
            manifest.model_server("second", f"127.0.0.1:{second}", "other"),
            *service("plain", plain),
        ]
        alive = [
            manifest.model_server(f"{name}-1", f"127.0.0.1:{first}", name)
            for name in ("backed", "served", "alone")
        ]
        down = [
            manifest.model_server(f"{name}-1", f"127.0.0.1:{dead}", name)
            for name in ("backed", "served", "alone")
        ]
        file = tmp_path / "m.yaml"
        async with lab(tmp_path, *objects, *alive) as made, aiohttp.ClientSession() as http:

            async def ask(pool: str, **sent: str) -> tuple[int, Any, dict[str, str]]:
                path = "/v1/chat/completions" if modelled else f"/{pool}/v1/chat/completions"
                body = {"model": pool, "messages": [{"role": "user", "content": "x" * 2000}]}
                async with http.post(made.running.url + path, json=body, headers=sent) as answer:
                    told = await answer.json()
                    return answer.status, told, {key.lower(): each for key, each in answer.headers.items()}

            async def answered(pool: str, name: str) -> dict[str, str]:
                async with asyncio.timeout(20):
                    while True:
                        status, told, found = await ask(pool)
                        if status == 200 and told["name"] == name:
                            return found
                        await asyncio.sleep(0.1)

            for pool in ("backed", "served", "alone"):
                await answered(pool, "first")
            assert (await ask("backed", **{"x-headgate-fallback": "default/routes/0/0"}))[1][
                "name"
            ] == "first"
            for without in (down, []):  # servers that cannot be reached; none at all
                file.write_text(yaml.safe_dump_all([*objects, *without]))
                found = await answered("backed", "second")
                assert found["x-headgate-endpoint"] == f"127.0.0.1:{second}"
                assert found["x-headgate-decision"] not in ("fallback", "none")
                assert "x-headgate-fallback" not in (await ask("backed"))[1]["headers"]
                await answered("served", "plain")
                status, told, _ = await ask("alone")
                assert (status, told["error"]["code"]) in ((503, "no-endpoints"), (503, "connect-failure"))
                assert (await ask("other"))[1]["name"] == "second"
            file.write_text(yaml.safe_dump_all([*objects, *alive]))
            for pool in ("backed", "served", "alone"):
                await answered(pool, "first")
