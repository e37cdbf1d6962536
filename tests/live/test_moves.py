"""Routes that move, and routes that Envoy refuses, while requests run: none fails."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from tests import manifests as manifest
from tests.live.harness.echo import echoing, service
from tests.live.harness.lab import lab, route

pytestmark = pytest.mark.live

OTHERS = 200
MOVES = 60

MOVED_S = 10.0
"""Longest wait until a move is seen in an answer."""


async def test_moves_and_refused_routes_cost_no_request(tmp_path: Path) -> None:
    async with echoing("one") as one, echoing("two") as two:
        fixed = [manifest.gateway(), *service("one", one), *service("two", two)]
        others = [route(f"r{number}", "one", hostnames=[f"h{number}.example"]) for number in range(OTHERS)]

        def objects(number: int) -> list[manifest.Manifest]:
            moved = route("moved", "one" if number % 2 else "two", hostnames=["moved.example"])
            path = {"type": "RegularExpression", "value": "/[[:foo:]]"}  # Envoy refuses it, unlike us
            bad = route(
                "bad",
                "one",
                hostnames=["bad.example"],
                rules=[{"matches": [{"path": path}], "backendRefs": [{"name": "one", "port": 80}]}],
            )
            return [*fixed, *others, moved, *([bad] if number % 10 >= 5 else [])]

        async with lab(tmp_path, *objects(0)) as made, aiohttp.ClientSession() as http:
            seen: Counter[Any] = Counter()
            moving = True

            async def load(host: str) -> None:
                while moving:
                    async with http.get(made.running.url, headers={"host": host}) as answer:
                        told = await answer.json(content_type=None)
                        seen[host, answer.status, told.get("name")] += 1
                    await asyncio.sleep(0.002)

            async with asyncio.TaskGroup() as tasks:
                for host in ("moved.example", "h7.example"):
                    tasks.create_task(load(host))
                for number in range(MOVES):
                    manifest.write(tmp_path / "m.yaml", *objects(number))
                    await asyncio.sleep(0.15)
                moving = False
            assert set(seen) == {
                ("moved.example", 200, "one"),
                ("moved.example", 200, "two"),
                ("h7.example", 200, "one"),
            }
            assert min(seen.values()) > 100


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("edits", "moving", "others"), [(100, 10, 20), (200, 1, 5000)])
async def test_every_move_is_served_and_costs_no_request(
    tmp_path: Path, edits: int, moving: int, others: int
) -> None:
    """Each edit moves *moving* routes at once, beside *others* that stay; the next one comes when all of the
    moves were seen in answers."""
    async with echoing("one") as one, echoing("two") as two:
        fixed = [manifest.gateway(), *service("one", one), *service("two", two)]
        fixed += [route(f"r{number}", "one", hostnames=[f"h{number}.example"]) for number in range(others)]
        hosts = [f"moved{each}.example" for each in range(moving)]
        staying = ["h7.example", f"h{others - 1}.example"]

        def backend(number: int) -> str:
            return "one" if number % 2 else "two"

        def moved(number: int) -> list[manifest.Manifest]:
            return [
                route(f"moved{each}", backend(number), hostnames=[host]) for each, host in enumerate(hosts)
            ]

        manifest.write(tmp_path / "others.yaml", *fixed)
        async with lab(tmp_path, *moved(0), whole=True) as made, aiohttp.ClientSession() as http:
            seen: Counter[Any] = Counter()
            last: dict[str, str] = {}
            going_on = True

            async def load(host: str) -> None:
                while going_on:
                    async with http.get(made.running.url, headers={"host": host}) as answer:
                        last[host] = (await answer.json(content_type=None)).get("name")
                        seen[host, answer.status, last[host]] += 1
                    await asyncio.sleep(0.002 * (moving + len(staying)))

            async with asyncio.TaskGroup() as tasks:
                for host in (*hosts, *staying):
                    tasks.create_task(load(host))
                for number in range(1, edits + 1):
                    manifest.write(tmp_path / "m.yaml", *moved(number))
                    async with asyncio.timeout(MOVED_S):
                        while any(last.get(host) != backend(number) for host in hosts):
                            await asyncio.sleep(0.005)
                going_on = False
            both = {(host, 200, name) for host in hosts for name in ("one", "two")}
            assert set(seen) == both | {(host, 200, "one") for host in staying}
            assert all(seen[each] >= edits // 2 for each in both if each[2] == "one")
