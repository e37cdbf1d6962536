"""Tables cut into groups of hosts answer as one table does, through the real Envoy."""

import asyncio
import http.client
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import manifests as manifest
from tests.live.harness.certificates import Authority
from tests.live.harness.echo import echoing, service
from tests.live.harness.lab import gate, https, lab, route, secret
from tests.live.harness.processes import free_port
from tests.live.harness.translated import translated_envoy
from tests.manifests import Manifest

from headgate.gateway.settings import GatewaySettings
from headgate.model import headers

pytestmark = pytest.mark.live

MODEL = "X-Gateway-Model-Name"
MANY = GatewaySettings().grouped_from


def redirecting(name: str, *hosts: str, path: str = "/", model: str | None = None) -> Manifest:
    """A route that says its name as the host of a redirect."""
    match: Manifest = {"path": {"type": "PathPrefix", "value": path}}
    if model is not None:
        match["headers"] = [{"name": MODEL, "value": model}]
    told = {"type": "RequestRedirect", "requestRedirect": {"hostname": f"{name}.told"}}
    found = manifest.route({"matches": [match], "filters": [told]}, name=name)
    return found | {"spec": found["spec"] | ({"hostnames": list(hosts)} if hosts else {})}


ROUTES = [
    redirecting("first", "a.example", "b7.example"),
    redirecting("second", "a.example", "tenant-42.apps.example", path="/v1"),
    redirecting("wild", "*.wild.example", "*.apps.example"),
    redirecting("below", "x.wild.example", path="/v1"),
    redirecting("models", "m.example", "*.wild.example", path="/v1", model="large"),
    redirecting("anything", path="/anything"),
]
KNOWN = ("a.example", "b7.example", "tenant-42.apps.example", "x.wild.example", "y.wild.example", "m.example")


Asked = tuple[str, str, str, bytes | None]
"""Method, host, path and body of a request."""


def hosts(dice: random.Random) -> Iterator[str]:
    """Hosts of requests: known ones and such that nobody knows, in any spelling."""
    for _ in range(250):
        host = dice.choice(KNOWN)
        if dice.random() < 0.4:
            host = "".join(dice.choice([each.upper(), each.lower()]) for each in host)
        if dice.random() < 0.2:
            at = dice.randrange(len(host))
            host = host[:at] + dice.choice(["z", "9", "", "-", ".", "_"]) + host[at + 1 :]
        if dice.random() < 0.1:
            host = f"{dice.choice('qx7')}.{host}"
        yield host + dice.choice(["", "", ":8080", ":80", ":", ":x", ".", ".:81"])
    yield from ("[::1]", "[::1]:80", "127.0.0.1:99", "*.wild.example", "wild.example", "*", "localhost", "a")


def answer(connection: http.client.HTTPConnection, asked: Asked) -> Any:
    """What a request is answered with: status, where to, reason, and the body of an error."""
    method, host, path, body = asked
    sent = {"host": host, headers.HOST_GROUP: "port-1/7"}
    if body is not None:
        sent["content-type"] = "application/json"
    connection.request(method, path, body, sent)
    found = connection.getresponse()
    text = found.read().decode()
    return found.status, found.getheader("location"), found.getheader(headers.REASON), text


def answers(port: int, asked: list[Asked]) -> list[Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        return [answer(connection, each) for each in asked]
    finally:
        connection.close()


async def test_both_forms_answer_alike(tmp_path: Path) -> None:
    dice = random.Random(3)
    asked = [
        (
            dice.choice(["GET", "POST"]),
            host,
            dice.choice(["/", "/v1", "/v1/x", "/anything", "/nothing"]),
            dice.choice([None, b'{"model":"large"}', b'{"model":"none"}', b"{"]),
        )
        for host in hosts(dice)
    ]
    asked += [("POST", "M.example:1", "/v1", body) for body in (b"{", b'{"model":"large"}', b'{"model":"x"}')]
    found, port = [], free_port()
    for number, grouped_from in enumerate((10**6, 0)):
        folder = tmp_path / str(number)
        folder.mkdir()
        told = GatewaySettings(port=port, address="127.0.0.1", grouped_from=grouped_from)
        snapshot = manifest.snapshot(manifest.gateway(), *ROUTES)
        async with translated_envoy(snapshot, told, folder):
            found.append(await asyncio.to_thread(answers, told.port, asked))
    for request, one, other in zip(asked, *found, strict=True):
        assert one == other, request
    places = {where.split("/")[2] for _, where, _, _ in found[0] if where}
    assert len(places) >= len(ROUTES)
    assert {reason for _, _, reason, _ in found[0]} >= {"model-not-found", "unreadable-body", "no-route"}


def tenants(first: int, end: int, domain: str = "example") -> list[Manifest]:
    """Routes of so many hosts to the backend `one`."""
    return [
        route(f"r{at}", "one", hostnames=[f"t{each}.{domain}" for each in range(at, min(at + 10, end))])
        for at in range(first, end, 10)
    ]


async def test_a_table_is_cut_up_under_load(tmp_path: Path) -> None:
    http_listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    async with echoing("one") as port:
        always = [gate(http_listener), *service("one", port)]
        async with lab(tmp_path, *always, *tenants(0, MANY - 20)) as made:
            connection = http.client.HTTPConnection("127.0.0.1", made.running.info["ports"]["gateway"])

            def ask(host: str) -> int:
                connection.request("GET", "/", headers={"host": host})
                found = connection.getresponse()
                told = json.loads(found.read())
                if found.status == 200:
                    assert told["host"] == host
                    assert headers.HOST_GROUP not in told["headers"]
                return found.status

            def until(host: str, status: int) -> list[int]:
                """Statuses of a host that is there all the time, until another one has *status*."""
                seen = []
                while ask(host) != status:
                    seen.append(ask("T1.example:80"))
                return seen

            def groups() -> int:
                (envoy,) = made.running.status()["gateway"]["envoys"]
                return int(envoy["held"]["scope"])

            assert groups() == 0 and ask("t205.example") == 404
            file = tmp_path / "m.yaml"
            file.write_text(yaml.safe_dump_all([*always, *tenants(0, MANY + 20)]))
            assert set(await asyncio.to_thread(until, "t205.example", 200)) == {200}
            assert groups() > 0 and ask("nobody.example") == 404
            file.write_text(yaml.safe_dump_all([*always, *tenants(0, 10)]))
            assert set(await asyncio.to_thread(until, "t205.example", 404)) == {200}
            assert groups() > 0, "another listener would cost the streams of this one"
            connection.close()


async def test_a_request_for_another_listener_is_misdirected(tmp_path: Path) -> None:
    ca = Authority()
    async with echoing("one") as port:
        objects = [
            gate(https("a", "a", hostname="a.example"), https("wild", "wild", hostname="*.some.example")),
            secret("a", ca.sign("a.example")),
            secret("wild", ca.sign("*.some.example")),
            route("of-a", "one", hostnames=["a.example"]),
            *tenants(0, MANY + 20, "some.example"),
            *service("one", port),
        ]
        async with lab(tmp_path, *objects) as made:
            (envoy,) = made.running.status()["gateway"]["envoys"]
            assert envoy["held"]["scope"] > 0
            for host in ("a.example", "t1.some.example", f"t{MANY}.some.example"):
                status, told = await made.ask(host, ca)
                assert (status, told["host"]) == (200, host)
            status, told = await made.ask("a.example", ca, sni="t1.some.example")
            assert (status, told["error"]["code"]) == (421, "misdirected-request")
            assert (await made.ask("nowhere.example", ca, sni="t1.some.example"))[0] == 404
