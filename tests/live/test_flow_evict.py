"""A running batch request makes place for a more important one, through the real Envoy, on both wires."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.processes import eventually, run_headgate
from tests.live.test_flow_bands import MODEL, objects
from tests.manifests import write

pytestmark = pytest.mark.live

POLICY = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "FlowPolicy",
    "metadata": {"name": "fair"},
    "spec": {
        "targetRefs": [{"name": "first"}],
        "detector": {"type": "Concurrency", "maxConcurrency": 2},
        "bands": [{"priority": -10, "evict": True}],
    },
}


@pytest.mark.parametrize("wire", ["native", "portable"])
async def test_the_youngest_batch_request_is_ended_and_its_server_stops_it(
    wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    with replicas(1, "--speed", "1", "--model", MODEL) as fleet:
        path = tmp_path / "w.yaml"
        write(path, *objects(fleet.urls), POLICY)
        with gateway("-f", str(path), "--trust-headers", "objective") as gate:
            async with aiohttp.ClientSession() as http:

                async def ask(name: str, tokens: int, objective: str | None) -> Any:
                    """Status, headers and body."""
                    sent = {"x-request-id": name}
                    if objective is not None:
                        sent["x-llm-d-inference-objective"] = objective
                    body = {"model": MODEL, "prompt": name, "max_tokens": tokens, "ignore_eos": True}
                    async with http.post(gate.url + "/v1/completions", json=body, headers=sent) as answer:
                        return answer.status, answer.headers, await answer.json()

                async def running() -> int:
                    async with http.get(fleet.urls[0] + "/metrics") as page:
                        lines = (await page.text()).splitlines()
                    found = [line for line in lines if line.startswith("vllm:num_requests_running{")]
                    return round(float(found[0].split()[-1]))

                async def run(count: int) -> None:
                    for _ in range(200):
                        if await running() == count:
                            return
                        await asyncio.sleep(0.05)
                    raise AssertionError(f"{await running()} requests run, not {count}")

                # 2000 tokens take 13 seconds and more.
                elder = asyncio.create_task(ask("elder", 2000, "batch"))
                await asyncio.to_thread(eventually, lambda: gate.in_flight() == 1)
                younger = asyncio.create_task(ask("younger", 2000, "batch"))
                await asyncio.to_thread(eventually, lambda: gate.in_flight() == 2)
                await run(2)
                status, _, _ = await ask("urgent", 5, None)
                assert status == 200
                status, headers, told = await younger
                assert (status, told["error"]["code"]) == (429, "evicted")
                assert int(headers["retry-after"]) >= 1
                assert headers["x-headgate-reason"] == "evicted"
                await run(1)
                assert not elder.done()
                record = gate.decision("younger")
                assert (record["outcome"]["ending"], record["outcome"]["status"]) == ("evicted", 429)
                assert not record["decision"]["refused"]
                said = await asyncio.to_thread(run_headgate, "explain", "younger", "--admin", gate.admin)
                assert "a more important request needed its place" in said.stdout
                [pool] = gate.pools()
                assert pool["queue"]["evicted"] == {"-10": 1}
                # Sent again, it is left alone: the elder one goes then.
                again = asyncio.create_task(ask("younger", 2000, "batch"))
                await asyncio.to_thread(eventually, lambda: gate.in_flight() == 2)
                status, _, _ = await ask("urgent-too", 5, None)
                assert status == 200
                assert (await elder)[0] == 429
                assert not again.done()
                again.cancel()
                await asyncio.gather(again, return_exceptions=True)
                await run(0)
                await asyncio.to_thread(eventually, lambda: gate.in_flight() == 0)
