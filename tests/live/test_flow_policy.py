"""A FlowPolicy through the real Envoy: verified clients have quotas and priorities, and the policy may change."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.echo import Seen, echoing, service
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.lab import lab
from tests.live.harness.processes import eventually, run_headgate
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.manifests import write

pytestmark = pytest.mark.live

MODEL = "base-model"


def ours(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "headgate.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


CLIENTS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "clients"},
    "stringData": {"team-a": "key-of-a", "team-b": "key-of-b"},
}
GATE = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gate"}


async def ask(http: aiohttp.ClientSession, url: str, key: str, tokens: int) -> tuple[int, Any, str | None]:
    """Status, error's code, and Retry-After."""
    body = {"model": MODEL, "prompt": "hi", "max_tokens": tokens, "ignore_eos": True}
    sent = {"authorization": f"Bearer {key}", "x-llm-d-inference-fairness-id": "somebody-else"}
    async with http.post(url + "/v1/completions", json=body, headers=sent) as answer:
        told = await answer.json()
        return answer.status, told.get("error", {}).get("code"), answer.headers.get("retry-after")


@pytest.mark.parametrize("wire", ["native", "portable"])
async def test_a_verified_client_over_its_quota_waits_and_others_notice_nothing(
    wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    with replicas(1, "--speed", "20", "--model", MODEL) as fleet:
        path = tmp_path / "w.yaml"
        objects = [
            manifest.gateway(),
            manifest.route(manifest.rule("first")),
            manifest.pool("first"),
            *manifest.model_servers(fleet.urls, app="first"),
            CLIENTS,
            ours("AccessPolicy", "keys", targetRefs=[GATE], apiKeys={"secretRefs": [{"name": "clients"}]}),
        ]

        def with_quota(tokens: int) -> dict[str, Any]:
            quota = {"tokensPerMinute": tokens, "burstTokens": 300}
            return ours(
                "FlowPolicy",
                "fair",
                targetRefs=[{"name": "first"}],
                clients=[{"name": "team-b", "priority": 5}],
                flows=[{"id": "team-a", "quota": quota}],
            )

        write(path, *objects, with_quota(60))
        with gateway("-f", str(path)) as gate:
            async with aiohttp.ClientSession() as http:
                assert (await ask(http, gate.url, "key-of-a", 290))[0] == 200
                await asyncio.to_thread(eventually, lambda: gate.in_flight() == 0)
                status, code, retry_after = await ask(http, gate.url, "key-of-a", 100)
                assert (status, code) == (429, "over-quota")
                # About 8 of 300 tokens are left, and one comes each second.
                assert 80 <= int(retry_after or 0) <= 105
                for _ in range(5):
                    assert (await ask(http, gate.url, "key-of-b", 290))[0] == 200
                shown = await asyncio.to_thread(
                    run_headgate, "status", "--admin", gate.admin, "--output", "json"
                )
                flows = {each["id"]: each for each in json.loads(shown.stdout)["flows"]}
                assert set(flows) == {"team-a", "team-b"}
                assert flows["team-b"]["band"] == 5
                assert flows["team-a"]["quota_left"] < 20
                write(path, *objects, with_quota(1_000_000))

                async def served() -> bool:
                    return (await ask(http, gate.url, "key-of-a", 100))[0] == 200

                for _ in range(100):
                    if await served():
                        break
                    await asyncio.sleep(0.1)
                else:
                    pytest.fail("the other quota never counted")


@pytest.mark.parametrize("wire", ["native", "portable"])
async def test_routes_rules_and_gateways_say_who_their_requests_count_as(
    wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    named = {**manifest.rule("first", path="/nightly"), "name": "nightly"}
    rewrite = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    named["filters"] = [{"type": "URLRewrite", "urlRewrite": {"path": rewrite}}]
    with replicas(1, "--speed", "20", "--model", MODEL) as fleet:
        path = tmp_path / "w.yaml"
        route = {"kind": "HTTPRoute", "name": "routes", "sectionName": "nightly"}
        write(
            path,
            manifest.gateway(),
            manifest.route(named, manifest.rule("first")),
            manifest.pool("first"),
            *manifest.model_servers(fleet.urls, app="first"),
            ours("FlowPolicy", "everybody", targetRefs=[GATE], requests={"priority": 1}),
            ours(
                "FlowPolicy",
                "nightly",
                targetRefs=[route],
                trustHeaders=["fairness"],
                requests={"priority": -10, "fairnessId": "batch"},
            ),
        )
        body = {"model": MODEL, "prompt": "hi", "max_tokens": 3}

        async def priority(http: aiohttp.ClientSession, where: str, **sent: str) -> int:
            async with http.post(f"{gate.url}{where}/v1/completions", json=body, headers=sent) as answer:
                assert answer.status == 200, await answer.text()
                request = answer.headers["x-request-id"]
            found = [each["decision"] for each in gate.decisions(50)]
            [own] = [each for each in found if each["request_id"] == request]
            return int(own["priority"])

        with gateway("-f", str(path)) as gate:
            async with aiohttp.ClientSession() as http:
                assert await priority(http, "") == 1
                assert await priority(http, "/nightly") == -10
                assert await priority(http, "", **{"x-headgate-flow": "default/nightly"}) == 1
                claimed = {"x-llm-d-inference-fairness-id": "tenant-7"}
                assert await priority(http, "/nightly", **claimed) == -10
                assert await priority(http, "", **claimed) == 1
            shown = await asyncio.to_thread(run_headgate, "status", "--admin", gate.admin, "--output", "json")
            flows = {each["id"]: each["band"] for each in json.loads(shown.stdout)["flows"]}
            assert flows == {MODEL: 1, "batch": -10, "tenant-7": -10}
            await asyncio.to_thread(_moved, path)
            async with aiohttp.ClientSession() as http:
                for _ in range(100):
                    if await priority(http, "/nightly") == 7:
                        break
                    await asyncio.sleep(0.1)
                else:
                    pytest.fail("the policy's other priority never counted")


def _moved(path: Path) -> None:
    path.write_text(path.read_text().replace("-10", "7"))


async def test_servers_are_not_told_of_policies_and_fallbacks_are(tmp_path: Path) -> None:
    """Services, pools of others' pickers and mirrors behind a Gateway and a rule with policies."""
    picker = ScriptedPicker()
    picker.mode = "duplex"
    seen = Seen()
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "plain", "port": 80}}}
    backed = manifest.pool("backed")
    backed["metadata"]["annotations"] = {"headgate.dev/fallback": "InferencePool/own"}
    async with echoing("plain", seen=seen) as port, picker.running():
        picker.endpoints = [f"127.0.0.1:{port}"]
        plain = {"name": "plain", "port": 80}
        rules = [
            {"matches": [{"path": {"value": "/plain"}}], "backendRefs": [plain]},
            manifest.rule("own", path="/own", filters=[mirror]),
            {**manifest.rule("backed", path="/backed"), "name": "backed"},
        ]
        mixed = manifest.rule("own", path="/mixed")
        mixed["backendRefs"].append(plain)
        rule = {"kind": "HTTPRoute", "name": "routes", "sectionName": "backed"}
        objects = [
            manifest.gateway(),
            manifest.route(*rules, mixed),
            *service("plain", port),
            backed,
            *manifest.foreign_picker("backed", picker.port, **{"headgate.dev/picker-tls": "false"}),
            manifest.pool("own"),
            *(manifest.model_server(each, f"127.0.0.1:{port}", each) for each in ("backed", "own")),
            ours("FlowPolicy", "everybody", targetRefs=[GATE], requests={"priority": 1}),
            ours("FlowPolicy", "backed", targetRefs=[rule], requests={"priority": 7}),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
            seen.clear()

            async def ask(path: str) -> str:
                async with http.post(made.running.url + path, json={}) as answer:
                    assert answer.status == 200, await answer.text()
                    return answer.headers["x-request-id"]

            for path in ("/plain", "/own", "/backed", *["/mixed"] * 8):
                await ask(path)
            picker.mode = "duplex-refuse"
            fallen = await ask("/backed")
            found = await asyncio.to_thread(made.running.decisions, 50)
            [decision] = [each["decision"] for each in found if each["decision"]["request_id"] == fallen]
            assert decision["priority"] == 7
            async with asyncio.timeout(5):
                while len(seen) < 13:
                    await asyncio.sleep(0.02)
    told = {name for each in seen for name in each["headers"] if name.startswith("x-headgate")}
    assert not told, told
