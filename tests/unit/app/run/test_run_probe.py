"""What a gateway serves, and whether it answers: asked of servers made here."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from headgate.app.run.probe import Probe, Served, listed, reachable, served

STATUS = {
    "summary": {
        "listeners": [{"port": 8080}, {"port": 8081}, {"port": 8081}],
        "pools": [
            {"key": "d/own", "endpoints": ["a:1"], "picker": None},
            {"key": "d/empty", "endpoints": [], "picker": None},
            {"key": "d/foreign", "endpoints": ["a:1"], "picker": {"service": "d/epp:9002"}},
        ],
    },
    "problems": [
        {"reason": "RefusedByEnvoy", "place": {"object": "listener port-8081"}},
        {"reason": "NoEndpoints", "place": {"object": "listener port-8080"}},
    ],
}


def test_only_what_can_be_answered_is_asked_for() -> None:
    assert served(STATUS) == Served(pools=("d/own",), ports=(8080,), all_own=False)
    assert served({"summary": None, "problems": []}) == Served()


@pytest.mark.parametrize(
    ("host", "shown"),
    [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("10.0.0.1", "10.0.0.1"), ("fd00::1", "[fd00::1]")],
)
def test_where_a_listener_is_reached(host: str, shown: str) -> None:
    assert reachable(host) == shown


@pytest.mark.parametrize("page", [None, [], {}, {"data": None}, {"data": [1, {}, {"id": 2}]}, "x"])
def test_a_page_that_is_no_list_of_models_names_none(page: object) -> None:
    assert listed(page) == []


@asynccontextmanager
async def serving(answers: dict[str, web.Response], where: Path | None = None) -> AsyncIterator[int]:
    """A server whose answer is chosen by the request's pool, else by its path; its port."""

    async def answer(request: web.Request) -> web.Response:
        found = answers[request.headers.get("x-headgate-pool", request.path)]
        return web.Response(status=found.status, body=found.body, headers=found.headers)

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site: Any = web.TCPSite(runner, "127.0.0.1", 0) if where is None else web.UnixSite(runner, where)
    await site.start()
    try:
        yield 0 if where is not None else int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def test_the_access_log_shows_who_asks() -> None:
    agents: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        agents.append(request.headers["user-agent"])
        return web.json_response({"data": [{"id": "m"}]})

    app = web.Application()
    app.router.add_get("/{any:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        port = int(runner.addresses[0][1])
        probe = Probe(Path("unused"), "127.0.0.1")
        assert (await probe.models(port), await probe.closed([port])) == (["m"], [])
    finally:
        await runner.cleanup()
    assert agents == ["headgate", "headgate"]


async def test_a_pool_is_answered_when_its_picker_says_so(tmp_path: Path) -> None:
    probe = Probe(tmp_path / "s", "127.0.0.1")
    assert await probe.unanswered(["d/a", "d/b"]) == ["d/a", "d/b"]
    answers = {"d/a": web.Response(status=200), "d/b": web.Response(status=503)}
    async with serving(answers, tmp_path / "s"):
        assert await probe.unanswered(["d/a", "d/b"]) == ["d/b"]
        assert await probe.unanswered([]) == []


async def test_a_port_is_open_when_the_gateway_answers_for_its_health() -> None:
    async with serving({"/headgate/healthz": web.Response()}) as good:
        async with serving({"/headgate/healthz": web.Response(status=404)}) as other:
            assert await Probe(Path(), "127.0.0.1").closed([good, other]) == [other]
        assert await Probe(Path(), "127.0.0.1").closed([good, other]) == [other]


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (web.json_response({"data": [{"id": "m"}]}), ["m"]),
        (web.Response(status=404, headers={"x-headgate-reason": "no-route"}), []),
        (web.Response(status=503, headers={"x-headgate-reason": "connect-failure"}), []),
        (web.Response(status=200, text="no json"), []),
        (web.Response(status=301, headers={"location": "https://127.0.0.1:1/v1/models"}), []),
        (web.Response(status=503, headers={"x-headgate-reason": "picker-failed"}), None),
        (web.json_response({"data": []}, headers={"x-headgate-decision": "fallback"}), None),
    ],
)
async def test_a_list_of_models_that_no_picker_saw_is_asked_for_again(
    answer: web.Response, found: list[str] | None
) -> None:
    async with serving({"/v1/models": answer}) as port:
        assert await Probe(Path(), "127.0.0.1").models(port) == found


async def test_nobody_listens_so_nothing_is_known_yet() -> None:
    async with serving({}) as port:
        pass
    assert await Probe(Path(), "127.0.0.1").models(port) is None
