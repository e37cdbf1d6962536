"""What names a session by a FlowPolicy, through `headgate run` and the real Envoy, on both wires."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from multidict import CIMultiDict
from openai import AsyncOpenAI
from tests import manifests as manifest
from tests.live.harness.fleet import replicas
from tests.live.harness.gateway import Gateway, gateway
from tests.live.harness.processes import eventually, run_headgate
from tests.manifests import write

pytestmark = pytest.mark.live

MODEL = "base-model"
TURNS = 10
"""Requests in a row: by chance they go to the same one of three servers once in 20,000 times."""
DRAWS = 24
"""Requests without a session: by chance all draw the same one of two models once in 8 million times."""
SECRET = "cookie-of-alice-7f1c"
POOL = [{"header": "x-chat"}, {"cookie": "sid"}, {"body": "prompt_cache_key"}, {"body": "metadata.user_id"}]
ROUTE = {"kind": "HTTPRoute", "name": "routes", "sectionName": "by-user"}


def policy(name: str, ref: dict[str, str], sessions: list[dict[str, str]]) -> dict[str, Any]:
    spec = {"targetRefs": [ref], "sessions": sessions}
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "FlowPolicy",
        "metadata": {"name": name},
        "spec": spec,
    }


class Asker:
    """Sends requests and counts what became of their sessions."""

    def __init__(self, gate: Gateway, http: aiohttp.ClientSession) -> None:
        self._gate = gate
        self._http = http
        self.count = TURNS
        """Requests in a row."""

    async def turns(
        self,
        path: str = "/v1/chat/completions",
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> tuple[Counter[str], set[str], set[str]]:
        """What became of the session, and the endpoints and models that served."""
        became, endpoints, models = Counter[str](), set(), set()
        for number in range(self.count):
            turns = [{"role": "user", "content": f"{number} " * 5}]
            body = {"model": "chat", "messages": turns, "max_tokens": 1, **fields}
            async with self._http.post(self._gate.url + path, json=body, headers=headers) as answer:
                told = await answer.text()
                summary = answer.headers.get("x-headgate-decision", "")
                request = answer.headers["x-request-id"]
                endpoints.add(answer.headers["x-headgate-endpoint"])
            assert answer.status in (200, 404), told
            found = summary.partition("session=")[2].partition(";")[0]
            became[found] += 1
            decision = await asyncio.to_thread(self._gate.decision, request)
            models.add(decision["decision"]["target_model"])
        return became, endpoints, models


@pytest.mark.parametrize("wire", ["native", "portable"])
async def test_headers_cookies_and_fields_of_bodies(
    wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADGATE_WIRE", wire)
    by_user = {**manifest.rule("first", path="/by-user"), "name": "by-user"}
    rewrite = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    by_user["filters"] = [{"type": "URLRewrite", "urlRewrite": {"path": rewrite}}]
    with replicas(3, "--speed", "20", "--model", MODEL, "--lora", "x", "--lora", "y") as fleet:
        path = tmp_path / "w.yaml"
        objects = [
            manifest.gateway(),
            manifest.route(by_user, manifest.rule("first")),
            manifest.pool("first"),
            *manifest.model_servers(fleet.urls, app="first"),
            manifest.model("chat", "first", "x", "y"),
        ]
        write(
            path,
            *objects,
            policy("of-pool", {"name": "first"}, POOL),
            policy("of-rule", ROUTE, [{"body": "user"}]),
        )
        with gateway("-f", str(path)) as gate:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
                asker = Asker(gate, http)
                stays = {"new": 1, "kept": TURNS - 1}
                for headers, fields in (
                    ({"X-Chat": "one"}, {}),
                    ({"cookie": f"theme=dark; sid={SECRET}"}, {}),
                    ({}, {"prompt_cache_key": "key"}),
                    ({"x-session-id": "ignored"}, {"prompt_cache_key": "other", "user": "ignored"}),
                ):
                    became, endpoints, models = await asker.turns(headers=headers, **fields)
                    assert (became, len(endpoints), len(models)) == (stays, 1, 1), (headers, fields)
                lines = CIMultiDict([("cookie", f"sid={SECRET}"), ("cookie", "theme=dark")])
                became, _, _ = await asker.turns(headers=lines)
                assert became == {"kept": TURNS}, "a client may send several lines"
                became, _, _ = await asker.turns("/by-user/v1/chat/completions", user="u")
                assert became == stays
                asker.count = DRAWS
                nobody = {"": DRAWS}
                for where, headers, fields in (
                    ("", {"x-session-id": "s"}, {"user": "u"}),
                    ("/by-user", {"x-chat": "one"}, {"prompt_cache_key": "key"}),
                ):
                    became, _, models = await asker.turns(where + "/v1/chat/completions", headers, **fields)
                    assert became == nobody
                    assert models == {"x", "y"}
                asker.count = TURNS
                anthropic = {"metadata": {"user_id": "claude"}}
                became, endpoints, _ = await asker.turns("/v1/messages", **anthropic)
                assert (became["kept"] > 0, len(endpoints)) == (True, 1)
                shown = await asyncio.to_thread(
                    run_headgate, "status", "--admin", gate.admin, "--output", "json"
                )
                [pool] = json.loads(shown.stdout)["picker"]["pools"]
                assert pool["sessions"] == {"size": 6, "most": 100_000}
                everything = json.dumps([gate.events, gate.decisions(200), json.loads(shown.stdout)])
                assert SECRET not in everything
                write(path, *objects, policy("of-pool", {"name": "first"}, [{"header": "x-later"}]))

                async def counts() -> bool:
                    became, _, _ = await asker.turns(headers={"x-later": "s"})
                    return became["kept"] > 0

                for _ in range(50):
                    if await counts():
                        break
                    await asyncio.sleep(0.1)
                else:
                    pytest.fail("the policy's other source never counted")
                became, _, _ = await asker.turns(headers={"x-chat": "one"})
                assert became == {"": TURNS}


async def test_the_openai_client_names_its_session_by_a_key(tmp_path: Path) -> None:
    with replicas(3, "--speed", "20", "--model", MODEL) as fleet:
        path = tmp_path / "w.yaml"
        write(
            path,
            manifest.gateway(),
            manifest.route(manifest.rule("first")),
            manifest.pool("first"),
            *manifest.model_servers(fleet.urls, app="first"),
            policy("of-gateway", {"kind": "Gateway", "name": "gate"}, [{"body": "prompt_cache_key"}]),
        )
        with gateway("-f", str(path)) as gate:
            async with AsyncOpenAI(base_url=gate.url + "/v1", api_key="unused", max_retries=0) as client:
                raw = client.chat.completions.with_raw_response
                told = []
                for number in range(TURNS):
                    answer = await raw.create(
                        model=MODEL,
                        messages=[{"role": "user", "content": f"{number} " * 5}],
                        max_tokens=1,
                        prompt_cache_key="chat-7f1c",
                    )
                    told.append(answer.headers["x-headgate-decision"])
                assert "session=new" in told[0]
                assert all("session=kept" in each for each in told[1:])
            await asyncio.to_thread(eventually, lambda: gate.in_flight() == 0)
