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


def kubeconfig(api: ApiServer) -> str:
    """Of a user of that server."""
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "clusters": [{"name": "k", "cluster": {"server": api.url}}],
    }
    return yaml.safe_dump(config)


def pod(name: str, ip: str, app: str) -> manifest.Manifest:
    """A Pod that is ready, of the namespace team."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "team", "labels": {"app": app}},
        "status": {"podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]},
    }


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
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(api))
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


async def test_pods_by_their_labels_alone_with_the_flags_of_llm_d(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an InferencePool, and with rights to pods and nothing else."""
    monkeypatch.setenv("NAMESPACE", "team")
    monkeypatch.setenv("POD_NAME", "epp-7d9f-x2x4")
    async with ApiServer().running() as api:
        api.refused |= dict.fromkeys(("inferencepools", "inferencemodels", "services", "endpointslices"), 403)
        api.put(pod("in", "127.0.0.1", "vllm"))
        api.put(pod("out", "127.0.0.3", "other"))
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(api))
        arguments = ("--endpoint-selector", "app=vllm", "--endpoint-target-ports", "8000,8001")
        monkeypatch.setenv("KUBECONFIG", str(file))
        async with picker(*arguments) as one:
            await until_ready(one)
            (found,) = (await one.status())["pools"]
            assert found["pool"] == "team/epp"
            assert sorted(each["endpoint"] for each in found["endpoints"]) == [
                "127.0.0.1:8000",
                "127.0.0.1:8001",
            ]
            api.put(pod("more", "127.0.0.2", "vllm"))
            async with asyncio.timeout(20):
                while len((await one.status())["pools"][0]["endpoints"]) < 4:
                    await asyncio.sleep(0.05)
