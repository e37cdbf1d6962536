"""`headgate status` of a picker and of a controller that run alone, as on a cluster: their part, and no more."""

import asyncio
import json
from pathlib import Path

import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.picker import picker
from tests.live.harness.processes import HEADGATE, Child, accepts, eventually, free_port, run_headgate
from tests.manifests import write

pytestmark = pytest.mark.live

QUOTA = {
    "apiVersion": "headgate.dev/v1alpha1",
    "kind": "FlowPolicy",
    "metadata": {"name": "fair"},
    "spec": {
        "targetRefs": [{"name": "first"}],
        "requests": {"fairnessId": "team-a"},
        "flows": [{"id": "team-a", "quota": {"tokensPerMinute": 60}}],
    },
}


async def test_a_picker_alone(tmp_path: Path) -> None:
    with replicas(1, "--speed", "20", "--model", "base-model") as fleet:
        objects = [manifest.pool("first"), *manifest.model_servers(fleet.urls, app="first"), QUOTA]
        file = write(tmp_path / "w.yaml", *objects)
        async with picker("-f", str(file), "--pool-name", "first", "--secure-serving=false") as process:
            await process.until_ready()
            where = ("status", "--admin", f"http://127.0.0.1:{process.admin}")
            text = await asyncio.to_thread(run_headgate, *where)
            assert text.returncode == 0, text.stderr
            assert "picker  ready" in text.stdout
            assert "pool default/first" in text.stdout and fleet.endpoint(0) in text.stdout
            assert "does not answer" not in text.stdout
            told = await asyncio.to_thread(run_headgate, *where, "--output", "json")
            assert told.returncode == 0, told.stderr
            content = json.loads(told.stdout)
            assert [each["pool"] for each in content["picker"]["pools"]] == ["default/first"]
            assert (content["flows"], content["objects"]) == ([], [])
            await asyncio.to_thread(fleet.child.stop)
            await asyncio.to_thread(
                eventually, lambda: "degraded: default/first 0 of 1" in run_headgate(*where).stdout, 20
            )


async def test_a_controller_alone(tmp_path: Path) -> None:
    file = write(tmp_path / "w.yaml", manifest.gateway(), manifest.pool("first"), QUOTA)
    xds, admin = free_port(), free_port()
    ports = ("--xds-port", str(xds), "--admin-port", str(admin))
    child = Child([*HEADGATE, "controller", "-f", str(file), *ports])
    try:
        await asyncio.to_thread(eventually, lambda: accepts(admin), 20)
        where = ("status", "--admin", f"http://127.0.0.1:{admin}")
        await asyncio.to_thread(eventually, lambda: run_headgate(*where).returncode == 0, 20)
        text = run_headgate(*where).stdout
        assert "controller  ready" in text and "FlowPolicy default/fair" in text
        assert "does not answer" not in text
        content = json.loads(run_headgate(*where, "--output", "json").stdout)
        assert {each["kind"] for each in content["objects"]} >= {"Gateway", "FlowPolicy"}
        assert content["flows"] == []
    finally:
        child.stop()
