"""Several pools, foreign pickers, forged headers, InferenceModels: what manifests promise."""

import asyncio
import collections
import json
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.picker import picker
from tests.live.harness.processes import eventually
from tests.manifests import Manifest, write

pytestmark = pytest.mark.live

MODEL = "base-model"

SECOND: Manifest = {
    "apiVersion": manifest.ALPHA,
    "kind": "InferencePool",
    "metadata": {"name": "second"},
    "spec": {"selector": {"app": "second"}, "targetPortNumber": 8000, "extensionRef": {"name": "second-epp"}},
}
"""A pool as older releases of the extension write it."""

OLDER, YOUNGER = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"

MODELS = [
    manifest.model(
        "chatbot", "first", "base-model", "adapter-1", criticality="Critical", creationTimestamp=OLDER
    ),
    manifest.model("latecomer", "first", "nonsense", asked="chatbot", creationTimestamp=YOUNGER),
    manifest.model("batch", "first", "base-model", criticality="Sheddable", creationTimestamp=OLDER),
]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(3, "--speed", "20", "--model", MODEL, "--lora", "adapter-1") as started:
        yield started


def weighted(fleet: Replicas, first: int = 70, second: int = 30) -> list[Manifest]:
    """Two pools in one rule with these weights: `first` of two replicas, `second` of the third."""
    return [
        manifest.gateway(),
        manifest.route(manifest.rule(("first", first), ("second", second))),
        manifest.pool("first"),
        SECOND,
        *manifest.model_servers(fleet.urls[:2], app="first"),
        *manifest.model_servers(fleet.urls[2:], app="second"),
    ]


async def ask(
    http: aiohttp.ClientSession, url: str, headers: dict[str, str] | None = None, **body: object
) -> aiohttp.ClientResponse:
    asked = {"model": MODEL, "prompt": "hi", "max_tokens": 1, "ignore_eos": True, **body}
    async with http.post(url + "/v1/completions", json=asked, headers=headers) as answer:
        await answer.read()
        return answer


async def test_two_weighted_pools_ask_their_own_picker(fleet: Replicas, tmp_path: Path) -> None:
    path = write(tmp_path / "w.yaml", *weighted(fleet))
    with gateway("-f", str(path)) as gate:
        served: collections.Counter[str] = collections.Counter()
        async with aiohttp.ClientSession() as http:
            for _ in range(400):
                answer = await ask(http, gate.url)
                assert answer.status == 200
                served[answer.headers["x-headgate-endpoint"]] += 1
        share = served[fleet.endpoint(2)] / 400
        print(f"\nshare of the pool with weight 30: {share:.3f}")
        assert 0.2 < share < 0.4
        pools = {record["decision"]["pool"] for record in gate.decisions(400)}
        assert pools == {"default/first", "default/second"}
        for record in gate.decisions(400):
            of_first = record["decision"]["chosen"][0] in (fleet.endpoint(0), fleet.endpoint(1))
            assert of_first == (record["decision"]["pool"] == "default/first")


async def test_a_pool_and_the_import_of_another_share_by_weight(fleet: Replicas, tmp_path: Path) -> None:
    x_group = SECOND["apiVersion"].partition("/")[0]
    exported = {**SECOND["metadata"], "annotations": {f"{x_group}/export": "ClusterSet"}}
    imported = {
        "apiVersion": f"{x_group}/v1alpha1",
        "kind": "InferencePoolImport",
        "metadata": {"name": "second"},
        "status": {"controllers": [{"name": "example.com/hub", "exportingClusters": [{"name": "here"}]}]},
    }

    def written(metadata: Manifest) -> list[Manifest]:
        gate, route, first, second, *servers = weighted(fleet)
        route["spec"]["rules"][0]["backendRefs"][1] |= {"group": x_group, "kind": "InferencePoolImport"}
        return [gate, route, first, {**second, "metadata": metadata}, imported, *servers]

    path = write(tmp_path / "w.yaml", *written(exported))
    with gateway("-f", str(path)) as gate:
        async with aiohttp.ClientSession() as http:

            async def shares() -> collections.Counter[tuple[int, str]]:
                found: collections.Counter[tuple[int, str]] = collections.Counter()
                for _ in range(200):
                    answer = await ask(http, gate.url)
                    found[answer.status, answer.headers.get("x-headgate-endpoint", "")] += 1
                return found

            found = await shares()
            assert {status for status, _ in found} == {200}
            assert 0.15 < found[200, fleet.endpoint(2)] / 200 < 0.45
            write(path, *written(SECOND["metadata"]))  # exported no more
            async with asyncio.timeout(10):
                while (500, "") not in (found := await shares()) or (200, fleet.endpoint(2)) in found:
                    await asyncio.sleep(0.1)
            assert 0.15 < found[500, ""] / 200 < 0.45


async def test_forged_routing_headers_have_no_effect(fleet: Replicas, tmp_path: Path) -> None:
    path = write(tmp_path / "w.yaml", *weighted(fleet, second=0))
    with gateway("-f", str(path)) as gate:
        outside = fleet.endpoint(2)
        async with aiohttp.ClientSession() as http:
            for name in (
                "x-gateway-destination-endpoint",
                "X-Gateway-Destination-Endpoint-Subset",
                "x-gateway-destination-endpoint-served",
            ):
                for _ in range(5):
                    answer = await ask(http, gate.url, {name: outside})
                    assert answer.status == 200
                    assert answer.headers["x-headgate-endpoint"] in (fleet.endpoint(0), fleet.endpoint(1))
            # Neither pool member can be forced by a client.
            picked = {
                (await ask(http, gate.url, {"x-gateway-destination-endpoint": fleet.endpoint(0)})).headers[
                    "x-headgate-endpoint"
                ]
                for _ in range(30)
            }
            assert picked == {fleet.endpoint(0), fleet.endpoint(1)}


async def test_a_foreign_picker_in_full_duplex_serves_its_pool(fleet: Replicas, tmp_path: Path) -> None:
    """Our own picker, started alone with TLS as any vendor's would be, behind the gateway's foreign path."""
    objects = weighted(fleet, first=0)
    path = write(tmp_path / "w.yaml", *objects)
    async with picker("-f", str(path), "--pool-name", "second") as foreign:
        write(path, *objects, *manifest.foreign_picker("second", foreign.grpc))
        with gateway("-f", str(path)) as gate:
            async with aiohttp.ClientSession() as http:

                async def answered() -> aiohttp.ClientResponse:
                    async with asyncio.timeout(15):
                        while (answer := await ask(http, gate.url)).status != 200:
                            await asyncio.sleep(0.1)
                        return answer

                answer = await answered()
                assert answer.headers["x-headgate-endpoint"] == fleet.endpoint(2)
                large = await ask(http, gate.url, prompt="word " * 100_000)
                assert large.status in (200, 400)
                body = {"model": MODEL, "prompt": "hi", "max_tokens": 30, "stream": True}
                async with http.post(gate.url + "/v1/completions", json=body) as streamed:
                    assert (await streamed.read()).rstrip().endswith(b"data: [DONE]")
                async with http.get(gate.url + "/v1/models") as listed:
                    assert MODEL in await listed.text()
            assert not gate.decisions(10), "our own picker was asked for a pool that has a foreign one"


async def test_a_model_name_leads_to_its_targets(fleet: Replicas, tmp_path: Path) -> None:
    path = write(tmp_path / "w.yaml", *weighted(fleet, second=0), *MODELS)
    with gateway("-f", str(path)) as gate:
        assert any("latecomer" in str(problem) for problem in gate.problems())
        async with aiohttp.ClientSession() as http:
            for stream in (False, True):
                body = {"model": "chatbot", "prompt": "hi", "max_tokens": 5, "stream": stream}
                for _ in range(12):
                    async with http.post(gate.url + "/v1/completions", json=body) as answer:
                        text = await answer.text()
                        assert answer.status == 200, text
                        events = (
                            [line[6:] for line in text.splitlines() if line.startswith("data: {")]
                            if stream
                            else [text]
                        )
                        assert {json.loads(event)["model"] for event in events} == {"chatbot"}
            targets = collections.Counter(record["decision"]["target_model"] for record in gate.decisions(24))
            assert set(targets) == {"base-model", "adapter-1"}
            assert (await ask(http, gate.url, model="unknown")).status == 404
            async with http.get(gate.url + "/v1/models") as listed:
                names = {card["id"] for card in (await listed.json())["data"]}
                assert {"chatbot", "batch"} <= names


REWRITES = [
    {
        "apiVersion": f"{group}/v1alpha2",
        "kind": "InferenceModelRewrite",
        "metadata": {"name": name},
        "spec": {"poolRef": {"name": "first"}, "rules": [rule]},
    }
    for group, name, rule in (
        (
            "llm-d.ai",
            "exact",
            {
                "matches": [{"model": {"value": "chatbot"}}],
                "targets": [
                    {"modelRewrite": "base-model", "weight": 1},
                    {"modelRewrite": "adapter-1", "weight": 1},
                ],
            },
        ),
        ("inference.networking.x-k8s.io", "every", {"targets": [{"modelRewrite": "base-model"}]}),
    )
]


async def test_a_rewritten_model_has_the_clients_name_in_the_answer(fleet: Replicas, tmp_path: Path) -> None:
    path = write(tmp_path / "w.yaml", *weighted(fleet, second=0), *REWRITES)
    with gateway("-f", str(path)) as gate:
        async with aiohttp.ClientSession() as http:
            for asked in ("chatbot", "whatever"):
                for stream in (False, True):
                    for _ in range(8):
                        async with http.post(
                            gate.url + "/v1/completions",
                            json={"model": asked, "prompt": "hi", "max_tokens": 3, "stream": stream},
                        ) as answer:
                            text = await answer.text()
                            assert answer.status == 200, text
                        events = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
                        found = {json.loads(event)["model"] for event in (events if stream else [text])}
                        assert found == {asked}
            targets: dict[str, set[str]] = {asked: set() for asked in ("chatbot", "whatever")}
            for record in gate.decisions(40):
                targets[record["decision"]["model"]].add(record["decision"]["target_model"])
            assert targets == {"chatbot": {"base-model", "adapter-1"}, "whatever": {"base-model"}}


async def test_a_saturated_pool_refuses_the_sheddable_first(tmp_path: Path) -> None:
    with replicas(3, "--speed", "1", "--model", MODEL, "--lora", "adapter-1", "--max-num-seqs", "2") as slow:
        path = write(tmp_path / "w.yaml", *weighted(slow, second=0), *MODELS)
        with gateway("-f", str(path), "--no-flow-control") as gate:
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
                long = [
                    asyncio.create_task(ask(http, gate.url, model="chatbot", max_tokens=2000))
                    for _ in range(60)
                ]
                try:
                    await asyncio.to_thread(eventually, lambda: gate.saturation("default/first") >= 1, 40)
                    refused = await ask(http, gate.url, model="batch")
                    assert refused.status == 429
                    assert refused.headers["x-headgate-reason"] == "saturated"
                    assert int(refused.headers["retry-after"]) >= 1
                finally:
                    for task in long:
                        task.cancel()
                    answers = await asyncio.gather(*long, return_exceptions=True)
                assert not [
                    each
                    for each in answers
                    if isinstance(each, aiohttp.ClientResponse) and each.status == 429
                ]
                await asyncio.to_thread(eventually, lambda: gate.saturation("default/first") < 1, 40)
                assert (await ask(http, gate.url, model="batch")).status == 200
