"""Probing servers of several kinds."""

import asyncio
import datetime
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from headgate.io.extproc.tls import self_signed
from headgate.io.sources.probe import probe
from headgate.model.api_keys import read_key
from headgate.model.load import ModelCard

Handler = Callable[[web.Request], web.StreamResponse]

METRICS = 'vllm:num_requests_waiting 0\nvllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1\n'
MODELS = {"data": [{"id": "m", "max_model_len": 4096}, {"id": "adapter", "parent": "m"}]}


@asynccontextmanager
async def serving(**pages: object) -> AsyncIterator[str]:
    async def answer(request: web.Request) -> web.Response:
        page = pages.get(request.path.rpartition("/")[2])
        match page:
            case str():
                return web.Response(text=page)
            case float():
                await asyncio.sleep(page)
                return web.Response()
            case None:
                return web.Response(status=404)
            case _:
                return web.json_response(page)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def test_vllm() -> None:
    async with serving(models=MODELS, version={"version": "0.11.0"}, metrics=METRICS) as url:
        found = await probe(url)
    assert (found.ok, found.error, found.engine, found.version) == (True, None, "vllm", "0.11.0")
    assert found.models == (ModelCard("m", max_model_len=4096), ModelCard("adapter", parent="m"))
    assert (found.kv_tokens, found.max_model_len, found.url) == (1600, 4096, url)


async def test_a_server_that_only_lists_models_is_ok() -> None:
    async with serving(models=MODELS, version="soon", metrics="what?") as url:
        found = await probe(url)
    assert (found.ok, found.engine, found.version, found.kv_tokens) == (True, None, None, None)


async def test_what_is_no_model_server_is_not_ok() -> None:
    async with serving(metrics=METRICS) as url:
        found = await probe(url)
    assert (found.ok, found.error, found.engine) == (False, "404 Not Found", "vllm")
    async with serving(models="<html>") as url:
        assert (await probe(url)).error == "/v1/models is no list of models"


async def test_a_hanging_server_is_given_up_in_time() -> None:
    began = asyncio.get_running_loop().time()
    async with serving(models=5.0, version={"version": "1"}, metrics=METRICS) as url:
        found = await probe(url, timeout_s=0.2)
        assert asyncio.get_running_loop().time() - began < 1.0
    assert (found.ok, found.error, found.version) == (False, "no answer in time", "1")


async def test_nobody_there() -> None:
    async with serving() as url:
        pass
    assert (await probe(url)).error == "connection refused"


async def test_a_host_that_does_not_resolve() -> None:
    assert (await probe("http://nowhere.invalid:80")).error == "the host name does not resolve"


async def test_a_certificate_of_its_own_making_is_called_that(tmp_path: Path) -> None:
    pair = self_signed(datetime.datetime.now(datetime.UTC))
    (tmp_path / "pair.pem").write_bytes(pair.key + pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = (await probe(f"https://127.0.0.1:{port}")).error
    assert error is not None
    assert "certificate cannot be trusted" in error
    assert "self-signed" in error.replace(" ", "-")


async def test_http_to_a_server_with_tls(tmp_path: Path) -> None:
    pair = self_signed(datetime.datetime.now(datetime.UTC))
    (tmp_path / "pair.pem").write_bytes(pair.key + pair.chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "pair.pem")
    async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context) as server:
        found = await probe(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    assert found.error == "it closed the connection without an answer: is it an https:// server?"


async def test_https_to_a_server_without_tls() -> None:
    async with serving(models=MODELS) as url:
        error = (await probe(url.replace("http:", "https:"))).error
    assert error == "it does not speak TLS: is it an http:// server?"


async def test_names_that_hang_keep_no_other_server_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def hang(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        if host.startswith("slow"):
            go.wait(60)
        return [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        async with serving(models=MODELS) as url:
            hanging = [
                asyncio.create_task(probe(f"http://slow{each}:80", timeout_s=30)) for each in range(64)
            ]
            await asyncio.sleep(0)
            found = await probe(url.replace("127.0.0.1", "quick"), timeout_s=30)
            assert found.ok
            assert not any(task.done() for task in hanging)
            for task in hanging:
                task.cancel()
            await asyncio.gather(*hanging, return_exceptions=True)
    finally:
        go.set()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "it wants an API key: --api-key-file or spec.apiKey (401 Unauthorized)"),
        ("sk-wrong", "it refuses the API key it was sent: --api-key-file or spec.apiKey (401 Unauthorized)"),
        ("sk-right", None),
    ],
)
async def test_a_server_that_wants_a_key_says_so(key: str | None, words: str | None) -> None:
    asked: set[str] = set()

    async def answer(request: web.Request) -> web.Response:
        asked.add(request.path)
        if request.headers.get("authorization") != "Bearer sk-right":
            return web.json_response({"error": "Unauthorized"}, status=401)
        return web.json_response(MODELS)

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        found = await probe(url, key=None if key is None else read_key(key))
    finally:
        await runner.cleanup()
    assert (found.error, found.wants_key) == (words, words is not None)
    assert asked == {"/v1/models", "/version", "/metrics"}
    assert "sk-" not in repr(found)
