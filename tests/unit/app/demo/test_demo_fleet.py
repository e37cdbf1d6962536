"""What is read of a replica."""

import aiohttp
from aiohttp import web

from headgate.app.demo.fleet import ReplicaNow, look, read_page

PAGE = (
    b'vllm:num_requests_waiting{engine="0"} 1\nvllm:num_requests_running{engine="0"} 3\n'
    b"vllm:kv_cache_usage_perc 0.5\n"
    b"vllm:prefix_cache_queries_total 400\nvllm:prefix_cache_hits_total 300\n"
)
NOW = ReplicaNow(name="replica-0", endpoint="a:1", running=3, waiting=1, kv_used=0.5, hit_rate=0.75)


def test_a_page() -> None:
    assert read_page("replica-0", "a:1", PAGE) == NOW
    assert read_page("replica-0", "a:1", b"") == ReplicaNow(name="replica-0", endpoint="a:1")


def test_before_the_first_prompt_there_is_no_hit_rate() -> None:
    page = PAGE.replace(b" 400", b" 0").replace(b" 300", b" 0")
    assert read_page("replica-0", "a:1", page).hit_rate is None


async def test_a_replica_that_does_not_answer_is_shown_without_numbers() -> None:
    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=PAGE)

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    runner = web.AppRunner(app, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with aiohttp.ClientSession() as session:
        up, down = await look(session, [f"http://127.0.0.1:{port}", "http://127.0.0.1:9"])
    await runner.cleanup()
    assert (up.endpoint, up.running) == (f"127.0.0.1:{port}", 3)
    assert down == ReplicaNow(name="replica-1", endpoint="127.0.0.1:9")
