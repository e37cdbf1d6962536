"""The real picker process with the flags of a picker of llm-d, beside a peer that speaks as an API server."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
import yaml
from tests import manifests as manifest
from tests.api_server import ApiServer
from tests.live.harness.picker import Picker, picker

pytestmark = pytest.mark.live

LLM_D = (
    *("--ha-enable-leader-election", "--metrics-endpoint-auth", "--allow-experimental-plugins"),
    *("--emit-endpoint-scores=true", "--grpc-max-send-msg-size=10MiB", "--grpc-max-recv-msg-size", "10MiB"),
    *(
        "--refresh-prometheus-metrics-interval=5s",
        "--enable-grpc-stream-metrics",
        "--zap-encoder=json",
        "-v=4",
    ),
    *(
        "--pool-group=inference.networking.k8s.io",
        "--tls-cipher-suites=TLS_AES_128_GCM_SHA256",
        "--tracing=false",
    ),
)


async def ready(process: Picker) -> bool:
    return (await process.get("/readyz"))[0] == 200


async def until_ready(process: Picker) -> None:
    async with asyncio.timeout(30):
        while not await ready(process):
            await asyncio.sleep(0.05)


async def metrics(process: Picker, token: str) -> int:
    headers = {"authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{process.metrics}/metrics"
    async with aiohttp.ClientSession() as http, http.get(url, headers=headers) as answer:
        return answer.status


async def test_flags_of_llm_d(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAMESPACE", "team")
    async with ApiServer().running() as api:
        api.tokens = {"reader": True}
        pool = manifest.pool("pool")
        pool["metadata"]["namespace"] = "team"
        api.put(pool)
        config = {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "k"}}],
            "clusters": [{"name": "k", "cluster": {"server": api.url}}],
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(config))
        arguments = ("--kubeconfig", str(file), "--pool-name", "pool", *LLM_D)
        async with picker(*arguments) as one:
            await until_ready(one)
            assert [each["pool"] for each in (await one.status())["pools"]] == ["team/pool"]
            assert [await metrics(one, token) for token in ("reader", "nobody", "")] == [200, 401, 401]
            log = str(one.child)
            for flag in ("emit-endpoint-scores", "grpc-max-send-msg-size", "pool-group", "zap-encoder"):
                assert f"--{flag} has no effect: " in log
            lease = api.get("leases", "epp-team-pool.llm-d.ai", "team")
            assert lease is not None and lease["spec"]["holderIdentity"]
            async with picker(*arguments) as two:
                async with asyncio.timeout(20):
                    while not (await two.status())["pools"]:
                        await asyncio.sleep(0.05)
                assert await ready(one) and not await ready(two)
                await asyncio.to_thread(one.child.stop)
                await until_ready(two)


async def test_metrics_stay_on_loopback_without_a_cluster() -> None:
    async with picker("--endpoints", "127.0.0.1:1") as process:
        assert (await process.get("/metrics", process.metrics))[0] == 200
        assert "metrics 127.0.0.1:" in str(process.child)
