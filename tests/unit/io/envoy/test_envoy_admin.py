"""Reading Envoy's admin."""

from pathlib import Path

import msgspec
import pytest
from aiohttp import web

from headgate.io.envoy.admin import EnvoyAdmin, count_active, count_by_tags
from headgate.io.envoy.bootstrap import EnvoyOptions


def stats(**values: int) -> bytes:
    named = [{"name": name.replace("__", "."), "value": value} for name, value in values.items()]
    return msgspec.json.encode({"stats": [*named, {"histograms": {}}]})


def test_counters_by_the_values_of_their_tags() -> None:
    name = "headgate.answers.listener.port-8080.reason.no-route"
    page = msgspec.json.encode({"stats": [{"name": name, "value": 3}, {"histograms": {}}]})
    assert count_by_tags(page) == {("port-8080", "no-route"): 3}


def test_the_admins_own_requests_do_not_count() -> None:
    page = stats(
        http__admin__downstream_rq_active=1,
        http__port_8080__downstream_rq_active=3,
        http__port_9090__downstream_rq_active=2,
    )
    assert count_active(page) == 5
    assert count_active(stats(http__admin__downstream_rq_active=1)) == 0


def test_an_answer_that_still_waits_to_be_sent_counts() -> None:
    page = stats(
        http__port_1__downstream_rq_active=2,
        http__port_1__downstream_cx_tx_bytes_buffered=9,
        http__port_2__downstream_rq_active=0,
        http__port_2__downstream_cx_tx_bytes_buffered=9,
        http__port_3__downstream_cx_tx_bytes_buffered=0,
        http__admin__downstream_cx_tx_bytes_buffered=9,
    )
    assert count_active(page) == 3


@pytest.mark.parametrize(
    ("status", "page"),
    [(503, b'{"stats": []}'), (200, b"overloaded"), (200, b"{}"), (200, b'{"stats": [1]}')],
)
async def test_an_answer_that_tells_nothing_is_no_zero(tmp_path: Path, status: int, page: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=page, status=status)

    app = web.Application()
    app.router.add_get("/stats", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    options = EnvoyOptions(binary=Path(), folder=tmp_path, xds_port=1)
    await runner.setup()
    await web.UnixSite(runner, options.admin_socket).start()
    async with EnvoyAdmin(options) as admin:
        with pytest.raises(OSError, match="Envoy's admin"):
            await admin.active_requests()
    await runner.cleanup()


async def test_ready_means_live_and_nobody_there_means_not(tmp_path: Path) -> None:
    live = False

    async def ready(_: web.Request) -> web.Response:
        return web.Response(text="LIVE" if live else "PRE_INITIALIZING", status=200 if live else 503)

    app = web.Application()
    app.router.add_get("/ready", ready)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    options = EnvoyOptions(binary=Path(), folder=tmp_path, xds_port=1)
    async with EnvoyAdmin(options) as admin:
        assert not await admin.ready()
        await runner.setup()
        await web.UnixSite(runner, options.admin_socket).start()
        assert not await admin.ready()
        live = True
        assert await admin.ready()
        await runner.cleanup()
        with pytest.raises(OSError, match="does not answer"):
            await admin.active_requests()
