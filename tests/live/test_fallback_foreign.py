"""From a pool with another vendor's picker to its fallback, through the real Envoy."""

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.certificates import Authority
from tests.live.harness.echo import Seen, echoing, service
from tests.live.harness.lab import gate, https, lab, route, secret
from tests.live.harness.model_server import ScriptedModelServer
from tests.live.harness.processes import eventually, free_port
from tests.live.harness.scripted_picker import ScriptedPicker
from tests.manifests import Manifest

pytestmark = pytest.mark.live

ANNOTATION = "headgate.dev/fallback"
MODE = "headgate.dev/picker-body-mode"


def foreign(name: str, picker: ScriptedPicker, to: str, mode: str, failure: str) -> list[Manifest]:
    found = manifest.pool(name, failure)
    found["metadata"]["annotations"] = {ANNOTATION: to, MODE: mode}
    return [found, *manifest.foreign_picker(name, picker.port, **{"headgate.dev/picker-tls": "false"})]


def changed(pool: str) -> Manifest:
    """A rule that adds a header and rewrites the path."""
    added = {
        "type": "RequestHeaderModifier",
        "requestHeaderModifier": {"add": [{"name": "x-n", "value": "1"}]},
    }
    path = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/re"}
    return manifest.rule(
        pool, path=f"/{pool}", filters=[added, {"type": "URLRewrite", "urlRewrite": {"path": path}}]
    )


def by_model(pool: str) -> Manifest:
    return manifest.rule(pool, matches=[{"headers": [{"name": "X-Gateway-Model-Name", "value": pool}]}])


@pytest.mark.parametrize("failure", ["FailOpen", "FailClose"])
@pytest.mark.parametrize(
    ("mode", "script"), [("full-duplex", "duplex"), ("streamed", "late")], ids=["full-duplex", "streamed"]
)
@pytest.mark.parametrize("modelled", [False, True], ids=["by-path", "by-model"])
async def test_who_its_picker_names_nobody_for(
    tmp_path: Path, modelled: bool, mode: str, script: str, failure: str
) -> None:
    picker = ScriptedPicker()
    picker.mode = script
    heard = Seen()
    away = {"location": "http://127.0.0.1/backed/elsewhere"}
    async with (
        echoing("first", answers=away) as first,
        echoing("second", seen=heard) as second,
        echoing("plain") as plain,
        picker.running(),
    ):
        picker.endpoints = [f"127.0.0.1:{first}"]
        objects = [
            manifest.gateway(),
            manifest.route(*(by_model(each) if modelled else changed(each) for each in ("backed", "served"))),
            *foreign("backed", picker, "InferencePool/other", mode, failure),
            *foreign("served", picker, "Service/plain:80", mode, failure),
            manifest.pool("other"),
            manifest.model_server("second", f"127.0.0.1:{second}", "other"),
            *service("plain", plain),
            *(
                manifest.model_server(f"{each}-1", f"127.0.0.1:{first}", each)
                for each in ("backed", "served")
            ),
        ]
        async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:

            async def ask(pool: str, query: str = "", **sent: str) -> tuple[int, Any, dict[str, str]]:
                path = "/v1/chat/completions" if modelled else f"/{pool}/v1/chat/completions"
                body = json.dumps({"model": pool, "messages": [{"role": "user", "content": "x" * 300_000}]})
                url = made.running.url + path + query
                sent["content-type"] = "application/json"
                async with http.post(url, data=body, headers=sent, allow_redirects=False) as answer:
                    told = json.loads(await answer.text())
                    if answer.status == 200:
                        assert told["bytes"] == len(body)
                        assert told["path"].startswith("/v1" if modelled else "/re/v1")
                        assert told["headers"].get("x-n") == (None if modelled else "1")
                        inner = [each for each in told["headers"] if each.startswith("x-headgate")]
                        assert told["name"] == "plain" or not inner
                        assert not {"x-headgate-relay", "x-headgate-fallback"} & set(inner)
                    return answer.status, told, {key.lower(): each for key, each in answer.headers.items()}

            async def answered(pool: str, name: str) -> dict[str, str]:
                last: Any = None
                try:
                    async with asyncio.timeout(5):
                        while True:
                            status, told, found = last = await ask(pool)
                            if status == 200 and told["name"] == name:
                                return found
                            await asyncio.sleep(0.1)
                except TimeoutError:
                    raise AssertionError(
                        f"last: {last} {len(picker.messages)} {picker.messages[-3:]}"
                    ) from None

            for pool in ("backed", "served"):
                found = await answered(pool, "first")
                assert found["x-headgate-endpoint"] == f"127.0.0.1:{first}"
                assert found["x-headgate-decision"] == f"picked by default/{pool}-epp:9002"
            # What a server itself redirects is the client's affair, and a mark of a client is none.
            assert (await ask("backed", "?status=307"))[0] == 307
            marked = {"x-headgate-fallback": "default/routes/0/0/pool/default/backed"}
            assert (await ask("backed", **marked))[1]["name"] == "first"
            assert (await ask("backed", "?status=503"))[0] == 503
            picker.mode = f"{script}-refuse"
            for picker.refusal in (429, 503, 404):
                heard.clear()
                status, told, found = await ask("backed")
                times = sum(each["path"].endswith("completions") for each in heard)
                assert (status, told["name"], times) == (200, "second", 1)
                assert found["x-headgate-endpoint"] == f"127.0.0.1:{second}"
                assert found["x-headgate-decision"] not in ("fallback", "none")
                status, told, _ = await ask("served")
                assert (status, told["name"]) == (200, "plain")
            picker.refusal = 400
            status, told, _ = await ask("backed")
            assert (status, told) == (400, {"error": {"message": "from the picker"}})
            await picker.stop()
            await answered("backed", "second")
            await answered("served", "plain")


async def test_over_tls_with_many_hosts_and_one_line_in_the_access_log(tmp_path: Path) -> None:
    ca, picker = Authority(), ScriptedPicker()
    picker.mode = "duplex-refuse"
    hosts = [f"h{number}.a.example" for number in range(250)]
    log = tmp_path / "log"
    async with echoing("second") as second, picker.running():
        rule = manifest.rule("backed")
        objects = [
            gate(https("a", "a", hostname="*.a.example")),
            secret("a", ca.sign("*.a.example")),
            *(route(f"r{at}", "", hostnames=hosts[at : at + 16], rules=[rule]) for at in range(0, 250, 16)),
            *foreign("backed", picker, "Service/second:80", "full-duplex", "FailClose"),
            *service("second", second),
        ]
        async with lab(tmp_path, *objects, options=("--access-log", str(log))) as made:
            for host in hosts[7:240:60]:
                status, told = await made.ask(host, ca, path="/a?b=c")
                assert (status, told.get("name")) == (200, "second"), told
                assert (told["host"], told["path"]) == (host, "/a?b=c")
                assert told["headers"]["x-forwarded-proto"] == "https"
                ours = {each for each in told["headers"] if each.startswith("x-headgate")}
                assert not ours, ours
            await asyncio.to_thread(eventually, lambda: len(log.read_text().splitlines()) >= 4)
            statuses = [json.loads(each)["status"] for each in log.read_text().splitlines()]
            assert statuses == [200] * 4


async def test_a_picker_that_hangs_and_answers_that_come_bit_by_bit(tmp_path: Path) -> None:
    server = ScriptedModelServer()
    server.mode, server.events, server.gaps_s = "sse", 40, 0.05
    port = free_port()
    async with server.running(), echoing("plain") as plain:
        module = "tests.live.harness.scripted_picker"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, str(port), server.address), stdout=asyncio.subprocess.PIPE
        )
        try:
            assert process.stdout is not None and await process.stdout.readline() == b"picking\n"
            pool = manifest.pool("backed")
            pool["metadata"]["annotations"] = {ANNOTATION: "Service/plain:80"}
            objects = [
                manifest.gateway(),
                manifest.route(manifest.rule("backed")),
                pool,
                *manifest.foreign_picker("backed", port, **{"headgate.dev/picker-tls": "false"}),
                manifest.model_server("one", server.address, "backed"),
                *service("plain", plain),
            ]
            async with lab(tmp_path, *objects) as made, aiohttp.ClientSession() as http:
                url = f"{made.running.url}/v1/completions"
                pieces: list[bytes] = []
                async with http.post(url, json={"model": "m", "stream": True}) as answer:
                    assert answer.headers["x-headgate-endpoint"] == server.address
                    async for piece, _ in answer.content.iter_chunks():
                        pieces.append(piece)
                assert b"".join(pieces).endswith(b"data: [DONE]\n\n")
                assert len(pieces) >= 20  # of forty events
                process.send_signal(signal.SIGSTOP)
                for _ in range(5):
                    async with asyncio.timeout(8), http.post(url, json={"model": "m"}) as answer:
                        assert (answer.status, (await answer.json())["name"]) == (200, "plain")
        finally:
            process.kill()
            await process.wait()
