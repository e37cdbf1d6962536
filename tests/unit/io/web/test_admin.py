"""The admin API's HTTP."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from headgate.io.web.admin import AdminServer, Reply, failure, fetch, host_name, reply


async def echo(given: Mapping[str, str]) -> Reply:
    return reply(dict(given))


async def missing(_: Mapping[str, str]) -> Reply:
    return failure(404, "unknown", "no such thing")


@pytest.fixture
async def server() -> AsyncIterator[AdminServer]:
    made = AdminServer({"/v1/{name}": echo, "/missing": missing})
    yield made
    await made.close()


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/v1/a?b=1", "localhost:1", 200),
        ("GET", "/v1/a", "127.0.0.1", 200),
        ("GET", "/v1/a", "[::1]:15000", 200),
        ("GET", "/v1/a", "LOCALHOST", 200),
        ("GET", "/v1/a", "rebound.example", 403),
        ("GET", "/v1/a", "127.0.0.1.evil.example:15000", 403),
        ("GET", "/nowhere", "localhost", 404),
        ("GET", "/missing", "localhost", 404),
        ("POST", "/v1/a", "localhost", 405),
        ("DELETE", "/v1/a", "localhost", 405),
    ],
)
async def test_who_is_answered(server: AdminServer, method: str, path: str, host: str, status: int) -> None:
    port = await server.listen("127.0.0.1", 0)
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"http://127.0.0.1:{port}{path}", headers={"host": host}) as answer,
    ):
        assert answer.status == status
        content = await answer.json()
    assert ("error" in content) == (status != 200)


async def test_an_open_address_answers_by_any_name() -> None:
    server = AdminServer({"/v1/{name}": echo}, any_host=True)
    port = await server.listen("127.0.0.1", 0)
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/v1/a", headers={"host": "gateway.example"}) as answer,
    ):
        assert answer.status == 200
    await server.close()


async def test_a_unix_socket_is_asked_by_path(server: AdminServer, tmp_path: Path) -> None:
    socket = tmp_path / "admin.sock"
    with pytest.raises(OSError, match=r"admin\.sock does not answer"):
        await fetch(socket, "/v1/a")
    await server.listen_unix(socket)
    assert await fetch(socket, "/v1/a?b=1") == reply({"b": "1", "name": "a"})
    assert (await fetch(socket, "/missing")).status == 404


@pytest.mark.parametrize(
    ("host", "name"),
    [("a:1", "a"), ("A", "a"), ("[::1]:80", "[::1]"), ("[::1]", "[::1]"), ("a:b", "a:b"), ("", "")],
)
def test_the_name_in_a_host_header(host: str, name: str) -> None:
    assert host_name(host) == name


def test_numbers_may_be_keys() -> None:
    """As the priorities of a FlowPolicy's bands are."""
    assert json.loads(reply({"bands": {-10: {2: None}}}).body) == {"bands": {"-10": {"2": None}}}


def test_an_answer_steers_no_terminal() -> None:
    body = reply({"model": "\x1b[2J\x9b2J\u202e"}).body
    assert body.decode().isprintable()
    assert json.loads(body) == {"model": "\x1b[2J\x9b2J\u202e"}
