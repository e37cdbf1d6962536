"""The admin API and the metrics page over HTTP."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from headgate.app.picker.admin import Site, Status, admin_app, metrics_app, serve_tcp, serve_unix
from headgate.app.picker.decision_log import DecisionLog
from headgate.io.web.metrics import PickerMetrics, Reading
from headgate.model.decisions import Candidate, Decision
from headgate.model.ids import EndpointId, PoolKey, RequestId, StreamId
from headgate.model.requests import Outcome


def status(*, ready: bool = True) -> Status:
    return Status(
        version="1",
        ready=ready,
        draining=False,
        policy="default",
        wire="python",
        grpc_port=1,
        health_port=2,
        metrics_port=3,
        admin_port=4,
        open_streams=0,
        left_streams=0,
        pools=(),
        problems=(),
    )


@pytest.fixture
def log() -> DecisionLog:
    return DecisionLog(float)


@pytest.fixture
async def site(log: DecisionLog) -> AsyncIterator[Site]:
    made = await serve_tcp(admin_app(status, log), "127.0.0.1", 0)
    yield made
    await made.close()


async def get(port: int, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}{path}") as answer:
        text = answer.content_type != "application/json"
        return answer.status, await (answer.text() if text else answer.json())


@pytest.mark.parametrize(("host", "expected"), [("localhost:1", 200), ("rebound.example", 403)])
async def test_a_page_whose_name_leads_here_reads_nothing(site: Site, host: str, expected: int) -> None:
    url = f"http://127.0.0.1:{site.port}/v1/decisions"
    async with aiohttp.ClientSession() as http, http.get(url, headers={"host": host}) as answer:
        assert answer.status == expected


async def test_decisions(site: Site, log: DecisionLog) -> None:
    assert (await get(site.port, "/v1/decisions/last"))[0] == 404
    for number, name in enumerate("abc"):
        log.record(
            StreamId(number),
            Decision(request_id=RequestId(name), pool=PoolKey("d/p"), policy="x", at=0.0),
        )
    assert (await get(site.port, "/v1/decisions/last"))[1]["decision"]["request_id"] == "c"
    assert (await get(site.port, "/v1/decisions/b"))[1]["decision"]["request_id"] == "b"
    assert (await get(site.port, "/v1/decisions/nobody"))[0] == 404
    _, newest = await get(site.port, "/v1/decisions?limit=2")
    assert [each["decision"]["request_id"] for each in newest] == ["c", "b"]
    assert (await get(site.port, "/v1/decisions?limit=x"))[0] == 400


async def test_lists_say_when_and_why_without_candidates(site: Site, log: DecisionLog) -> None:
    for number, (name, ttft_s, lasted_s) in enumerate(
        [("quick", 0.1, 9.0), ("slow", 3.0, 3.5), ("unstreamed", None, 2.0)]
    ):
        decision = Decision(
            request_id=RequestId(name),
            pool=PoolKey("d/p"),
            policy="x",
            at=float(number),
            candidates=(Candidate(endpoint=EndpointId("a:1")),),
        )
        log.record(StreamId(number), decision)
        log.conclude(StreamId(number), Outcome("complete", 200, None, ttft_s, lasted_s))
    log.record(
        StreamId(9), Decision(request_id=RequestId("running"), pool=PoolKey("d/p"), policy="x", at=86400.0)
    )

    async def names(query: str) -> list[str]:
        _, found = await get(site.port, f"/v1/decisions?{query}")
        assert not any(each["decision"]["candidates"] for each in found)
        return [each["decision"]["request_id"] for each in found]

    assert await names("order=slowest&limit=9") == ["slow", "unstreamed", "quick"]
    assert await names("order=slowest&limit=1") == ["slow"]
    assert await names("order=recent&limit=2") == ["running", "unstreamed"]
    assert (await get(site.port, "/v1/decisions?order=alphabet"))[0] == 400
    _, found = await get(site.port, "/v1/decisions/slow")
    assert (found["time"], found["ended"]) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:04.500Z")
    assert (found["decision"]["at"], found["why"]) == (1.0, "answered")
    _, last = await get(site.port, "/v1/decisions/last")
    assert (last["time"], last["ended"]) == ("1970-01-02T00:00:00.000Z", None)


async def test_health_and_status(site: Site) -> None:
    assert (await get(site.port, "/healthz"))[0] == 200
    assert (await get(site.port, "/readyz"))[0] == 200
    _, found = await get(site.port, "/v1/status")
    assert (found["wire"], found["pools"]) == ("python", [])
    assert found["resident_bytes"] > 0


async def test_not_ready(log: DecisionLog) -> None:
    site = await serve_tcp(admin_app(lambda: status(ready=False), log), "127.0.0.1", 0)
    assert (await get(site.port, "/readyz"))[0] == 503
    await site.close()


async def test_a_stale_socket_is_replaced(tmp_path: Path, log: DecisionLog) -> None:
    path = tmp_path / "admin.sock"
    for _ in range(2):
        site = await serve_unix(admin_app(status, log), path)
        connector = aiohttp.UnixConnector(str(path))
        async with (
            aiohttp.ClientSession(connector=connector) as http,
            http.get("http://localhost/healthz") as answer,
        ):
            assert answer.status == 200
        assert path.stat().st_mode & 0o777 == 0o600
        await site.close()


async def test_a_port_in_use_is_an_error(site: Site, log: DecisionLog) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve_tcp(admin_app(status, log), "127.0.0.1", site.port)


def anything(pool: PoolKey, name: str) -> bool:
    """Every name is known."""
    return True


async def test_metrics() -> None:
    site = await serve_tcp(page("127.0.0.1"), "127.0.0.1", 0)
    code, text = await get(site.port, "/metrics")
    assert code == 200
    assert 'wire="python"' in text
    await site.close()


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 403), ("::1", 403), ("0.0.0.0", 200)])
async def test_on_loopback_no_page_of_another_name_reads_metrics(host: str, status: int) -> None:
    site = await serve_tcp(page(host), "127.0.0.1", 0)
    url, named = f"http://127.0.0.1:{site.port}/metrics", {"host": "evil.example"}
    async with aiohttp.ClientSession() as http, http.get(url, headers=named) as answer:
        assert answer.status == status
    await site.close()


def page(host: str) -> Any:
    """The metrics, for the address *host*."""
    return metrics_app(PickerMetrics(lambda: Reading((), 0, 0, "python"), anything, anything), host)
