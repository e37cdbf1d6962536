"""What the real Envoy refuses although it passed every check: it is named and left out, the rest is served."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from tests.live.harness.certificates import Authority
from tests.live.harness.echo import echoing, service
from tests.live.harness.lab import gate, https, lab, route, secret

pytestmark = pytest.mark.live

HTTP: dict[str, Any] = {"name": "http", "port": 80, "protocol": "HTTP"}


async def until(check: Any) -> None:
    async with asyncio.timeout(15):
        while True:
            with contextlib.suppress(aiohttp.ClientError, AssertionError, ValueError):
                await check()
                return
            await asyncio.sleep(0.1)


async def test_one_bad_certificate_costs_no_other_listener_and_is_named(tmp_path: Path) -> None:
    ca = Authority()
    bad = secret("bad", ca.sign("bad.example", ec.SECP224R1()))  # OpenSSL takes the curve, Envoy does not
    async with echoing("one") as port:
        objects = [
            gate(
                HTTP,
                https("good", "good", hostname="good.example"),
                https("bad", "bad", hostname="bad.example"),
            ),
            secret("good", ca.sign("good.example")),
            *(
                route(f"r{number}", "one", hostnames=[f"h{number}.example", "good.example"])
                for number in range(20)
            ),
            *service("one", port),
        ]
        file = tmp_path / "m.yaml"
        async with lab(tmp_path, *objects, bad) as made, aiohttp.ClientSession() as http:

            async def good() -> None:
                assert (await made.ask("good.example", ca))[0] == 200
                async with http.get(made.running.url, headers={"host": "h7.example"}) as answer:
                    assert answer.status == 200

            async def named() -> None:
                problems = (await asyncio.to_thread(made.running.status))["gateway"]["problems"]
                (found,) = [each for each in problems if each["reason"] == "RefusedByEnvoy"]
                assert found["place"]["object"] == "Secret default/bad"
                assert found["place"]["file"] == str(file)
                assert "Failed to load certificate chain" in found["message"]

            await until(good)
            await until(named)
            new = route("new", "one", hostnames=["new.example"])  # what comes later is served, too
            file.write_text(yaml.safe_dump_all([*objects, bad, new]))

            async def served() -> None:
                async with http.get(made.running.url, headers={"host": "new.example"}) as answer:
                    assert answer.status == 200

            await until(served)
            await good()
            file.write_text(yaml.safe_dump_all([*objects, secret("bad", ca.sign("bad.example")), new]))

            async def mended() -> None:
                assert (await made.ask("bad.example", ca))[0] in (200, 404)
                problems = (await asyncio.to_thread(made.running.status))["gateway"]["problems"]
                assert not [each for each in problems if each["reason"] == "RefusedByEnvoy"]

            await until(mended)
            refused = secret("good", ca.sign("good.example", ec.SECP224R1()))
            file.write_text(yaml.safe_dump_all([objects[0], refused, *objects[2:], new]))

            async def served_on() -> None:
                problems = (await asyncio.to_thread(made.running.status))["gateway"]["problems"]
                (found,) = [each for each in problems if each["reason"] == "RefusedByEnvoy"]
                assert "served on" in found["message"]

            await until(served_on)
            await good()
