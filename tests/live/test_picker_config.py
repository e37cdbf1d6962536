"""The real picker process with a configuration of another picker, asked by the real Envoy."""

import asyncio
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.envoy_with_picker import envoy_with_picker
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.picker import picker
from tests.live.harness.processes import run_headgate

pytestmark = pytest.mark.live

STAGES = """apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
featureGates: [flowControl]
plugins:
- {type: disagg-profile-handler, parameters: {deciders: {prefill: always-disagg-pd-decider}}}
- type: always-disagg-pd-decider
- type: prefill-filter
- type: decode-filter
- {type: prefix-cache-scorer, name: prefix}
- type: active-request-scorer
- type: max-score-picker
schedulingProfiles:
- name: prefill
  plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix}, {pluginRef: max-score-picker}]
- name: decode
  plugins: [{pluginRef: decode-filter}, {pluginRef: active-request-scorer}, {pluginRef: max-score-picker}]
"""


async def test_requests_keep_to_the_endpoints_that_decode(tmp_path: Path) -> None:
    ones = [ScriptedModelServer() for _ in range(3)]
    config = tmp_path / "epp.yaml"
    config.write_text(STAGES)
    async with ones[0].running(), ones[1].running(), ones[2].running():
        objects = [manifest.pool("pool")]
        for server, (name, role) in zip(
            ones, {"a": "prefill", "b": "decode", "c": "both"}.items(), strict=True
        ):
            server.models = ["m"]
            made = manifest.model_server(name, server.address, "pool")
            made["metadata"]["labels"]["llm-d.ai/role"] = role
            objects.append(made)
        file = manifest.write(tmp_path / "objects.yaml", *objects)
        arguments = ("-f", str(file), "--pool-name", "pool", "--config-file", str(config))
        async with (
            picker(*arguments, "--secure-serving=false") as process,
            envoy_with_picker(
                "duplex", tmp_path, process.grpc, [each.address for each in ones], tls=False
            ) as url,
            aiohttp.ClientSession() as http,
        ):
            await process.until_ready()
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}

            async def ask() -> int:
                async with http.post(f"{url}/v1/chat/completions", json=body) as answer:
                    await answer.read()
                    return answer.status

            assert await asyncio.gather(*(ask() for _ in range(12))) == [200] * 12
            status = await process.status()
            assert status["policy"] == "least-requests"
            assert len(status["pools"][0]["endpoints"]) == 2
            log = str(process.child)
        assert [bool(ones[0].bodies), len(ones[1].bodies) + len(ones[2].bodies)] == [False, 12]
        assert (
            f"{config}:5 EndpointPickerConfig plugins[0].type: warning: plugin disagg-profile-handler" in log
        )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (STAGES.replace("type: prefill-filter", "type: prefil-filter", 1), "did you mean prefill-filter?"),
        (STAGES.replace("name: decode", "name: answers"), "nothing says which of them chooses"),
        ("a: [", "not valid YAML"),
    ],
)
def test_what_cannot_be_followed_ends_the_start(tmp_path: Path, text: str, words: str) -> None:
    config = tmp_path / "epp.yaml"
    config.write_text(text)
    done = run_headgate("picker", "--endpoints", "127.0.0.1:1", "--config-file", str(config))
    assert done.returncode == 1
    assert words in done.stderr and str(config) in done.stderr and "Traceback" not in done.stderr


def test_file_and_text_exclude_each_other(tmp_path: Path) -> None:
    done = run_headgate("picker", "--endpoints", "127.0.0.1:1", "--config-file", "x", "--config-text", "y")
    assert done.returncode == 2 and "name one of them" in done.stderr
