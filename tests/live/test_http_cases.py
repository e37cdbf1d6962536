"""The routing cases of `harness/http_cases.py`, all through one Envoy."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.echo import echoing, joined, service
from tests.live.harness.http_cases import GROUPS, SENT, Case
from tests.live.harness.lab import lab

pytestmark = pytest.mark.live

BACKENDS = ("one", "two", "three")


@contextlib.asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[str]:
    """The gateway's URL."""
    async with contextlib.AsyncExitStack() as stack:
        ports = {name: await stack.enter_async_context(echoing(name, answers=SENT)) for name in BACKENDS}
        away = service("away", ports["three"]) + service("hidden", ports["three"])
        for each in away:
            each["metadata"]["namespace"] = "other"
        half = service("half", ports["one"])
        dead = service("half", 1)[1]
        dead["metadata"]["name"] = "half-2"
        objects = [
            manifest.gateway(),
            *(one for name, port in ports.items() for one in service(name, port)),
            *away,
            *half,
            dead,
            *(each for group in GROUPS.values() for each in group.objects),
        ]
        made = await stack.enter_async_context(lab(folder, *objects))
        yield made.running.url


async def asked(http: aiohttp.ClientSession, url: str, case: Case) -> str:
    """What is wrong with the answer; empty: nothing."""
    host, _, rest = case.url.partition("/")
    sent = {**case.sends, "host": host}
    async with http.request(case.method, f"{url}/{rest}", headers=sent, allow_redirects=False) as answer:
        body = await answer.read()
        found: dict[str, Any] = {"status": answer.status, "location": answer.headers.get("location")}
        if answer.status == 200 and body:
            found |= await answer.json()
    if isinstance(case.wants, int):
        return "" if found["status"] == case.wants else f"{case.url}: {found}"
    if "://" in case.wants:
        right = {"status": case.status, "location": case.wants.replace("{port}", url.rpartition(":")[2])}
        return "" if right.items() <= found.items() else f"{case.url}: {found}, not {right}"
    right = {"status": 200, "name": case.wants}
    right |= {key: value for key, value in (("path", case.path), ("host", case.host)) if value is not None}
    seen = joined(answer.headers)
    wrong = {key: seen.get(key) for key, value in case.gets.items() if seen.get(key) != value}
    there = found.get("headers", {})
    wrong |= {key: there.get(key) for key, value in case.sees.items() if there.get(key) != value}
    return (
        "" if right.items() <= found.items() and not wrong else f"{case.method} {case.url}: {found} {wrong}"
    )


async def test_every_case(tmp_path: Path) -> None:
    cases = [(name, case) for name, group in GROUPS.items() for case in group.cases]
    async with serving(tmp_path) as url, aiohttp.ClientSession() as http:
        found = await asyncio.gather(*(asked(http, url, case) for _, case in cases))
    wrong = [f"{name}: {what}" for (name, _), what in zip(cases, found, strict=True) if what]
    print(f"\n{len(cases)} cases in {len(GROUPS)} groups")
    assert not wrong, "\n".join(wrong)
