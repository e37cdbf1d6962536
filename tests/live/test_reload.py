"""Edits under load: routes and endpoints come and go, no request fails, no running stream is cut."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.fleet import Replicas, replicas
from tests.live.harness.gateway import gateway
from tests.live.harness.load import MODEL, load, summary
from tests.live.harness.processes import eventually
from tests.manifests import Manifest, write

pytestmark = [pytest.mark.live, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def fleet() -> Iterator[Replicas]:
    with replicas(3, "--speed", "20", "--model", MODEL) as started:
        yield started


def config(
    fleet: Replicas, servers: list[int], extra: int | None, mode: str, path: str | None = None
) -> list[Manifest]:
    """A pool of these replicas behind *path*, and a route of its own with a number when *extra* is given."""
    objects = [
        manifest.gateway(),
        manifest.route(manifest.rule("pool", path=path)),
        manifest.pool("pool", mode, app="vllm"),
        *(manifest.model_server(f"server-{number}", fleet.urls[number], "vllm") for number in servers),
    ]
    if extra is not None:
        name = f"extra-{extra}"
        objects += [
            manifest.route(manifest.rule(name, path=f"/extra/{extra}"), name=name),
            manifest.pool(name, app="vllm"),
        ]
    return objects


@pytest.mark.parametrize("mode", ["FailOpen", "FailClose"])
async def test_two_hundred_edits_fail_no_request(fleet: Replicas, tmp_path: Path, mode: str) -> None:
    path = tmp_path / "all.yaml"
    write(path, *config(fleet, [0, 1, 2], None, mode))
    edits = 200
    with gateway("-f", str(tmp_path)) as gate:

        async def during() -> None:
            for number in range(edits):
                write(
                    path,
                    *config(
                        fleet,
                        [0, 1, 2] if number % 2 else [0, 1 + number // 2 % 2],
                        number if number % 3 else None,
                        mode,
                    ),
                )
                await asyncio.sleep(0.1)

        seen = await load(gate.url, during, clients=8, tokens=5)
        summary(f"{edits} edits, {mode}", seen)
        assert len(seen) > 200
        assert {each.status for each in seen} == {200}
        assert not any(each.broken for each in seen)
        # The last edit is what is served.
        write(path, *config(fleet, [0], 999, mode))
        eventually(lambda: gate.endpoints() == {fleet.endpoint(0)})


async def test_a_new_route_answers_and_a_removed_one_does_not(fleet: Replicas, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    plain, more = (config(fleet, [0], extra, "FailClose", path="/v1") for extra in (None, 1))
    write(path, *plain)
    with gateway("-f", str(path)) as gate:
        async with aiohttp.ClientSession() as http:

            async def reason(url: str) -> str | None:
                async with http.get(gate.url + url) as answer:
                    return answer.headers.get("x-headgate-reason")

            async def becomes(url: str, wanted: str | None) -> None:
                async with asyncio.timeout(10):
                    while await reason(url) != wanted:
                        await asyncio.sleep(0.05)

            assert await reason("/v1/models") is None
            assert await reason("/extra/1/x") == "no-route"
            write(path, *more)
            await becomes("/extra/1/x", None)
            write(path, *plain)
            await becomes("/extra/1/x", "no-route")


async def test_a_removed_endpoint_keeps_its_streams_and_gets_no_more(fleet: Replicas, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    write(path, *config(fleet, [1], None, "FailClose"))
    with gateway("-f", str(path)) as gate:
        body = {"model": MODEL, "prompt": "long", "max_tokens": 6000, "ignore_eos": True, "stream": True}
        async with (
            aiohttp.ClientSession() as http,
            http.post(gate.url + "/v1/completions", json=body) as answer,
        ):
            assert answer.headers["x-headgate-endpoint"] == fleet.endpoint(1)
            first = await answer.content.readline()
            assert first.startswith(b"data:")
            write(path, *config(fleet, [0, 2], None, "FailClose"))
            await asyncio.to_thread(eventually, lambda: fleet.endpoint(1) not in gate.endpoints())
            for _ in range(20):
                async with http.post(
                    gate.url + "/v1/completions", json={"model": MODEL, "prompt": "x", "max_tokens": 1}
                ) as other:
                    assert other.status == 200
                    assert other.headers["x-headgate-endpoint"] != fleet.endpoint(1)
            rest = await answer.content.read()
            assert rest.rstrip().endswith(b"data: [DONE]")


async def test_a_bad_edit_keeps_what_was_served(fleet: Replicas, tmp_path: Path) -> None:
    path = tmp_path / "all.yaml"
    write(path, *config(fleet, [0], None, "FailClose"))
    with gateway("-f", str(path)) as gate:
        async with aiohttp.ClientSession() as http:
            right = manifest.text(*config(fleet, [0], None, "FailClose"))
            for broken in ("kind: [", right.replace("port: 80\n", "port: eighty\n")):
                write(path, broken)
                problems = await asyncio.to_thread(eventually, lambda: gate.problems())
                assert any("all.yaml" in str(problem) for problem in problems)
                async with http.get(gate.url + "/v1/models") as answer:
                    assert answer.status == 200
                write(path, *config(fleet, [0], None, "FailClose"))
                await asyncio.to_thread(eventually, lambda: not gate.problems())
