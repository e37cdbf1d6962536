"""The load generator against scripted servers: what it measures and what it calls an error."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from headgate.io.load.generator import Load, LoadSettings
from headgate.io.load.report import Sample
from headgate.io.load.workloads import Conversation, Plan, Turn

Answer = Callable[[web.Request, dict[str, Any]], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await answer(request, await request.json())

    app = web.Application()
    app.router.add_post("/v1/chat/completions", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.05, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def frame(text: str | None = None, usage: dict[str, Any] | None = None) -> bytes:
    choices = [] if text is None else [{"index": 0, "delta": {"content": text}}]
    return b"data: " + json.dumps({"choices": choices, "usage": usage}).encode() + b"\n\n"


USAGE = {"prompt_tokens": 50, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 32}}


async def opened(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"x-headgate-endpoint": "10.0.0.1:8000", "x-request-id": "r1"})
    await response.prepare(request)
    return response


async def well(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    response = await opened(request)
    await response.write(frame(""))
    await asyncio.sleep(0.05)
    await response.write(frame("one")[:9])
    await response.write(frame("one")[9:] + frame(" two"))
    await asyncio.sleep(0.04)
    await response.write(frame(" three") + frame(usage=USAGE) + b"data: [DONE]\n\n")
    return response


def plan_of(*conversations: Conversation, duration_s: float = 1.0) -> Plan:
    return Plan(conversations, duration_s)


def asking(at_s: float = 0.0, *thinks: float) -> Conversation:
    return Conversation(
        at_s, "Be brief.", tuple(Turn(f"q{i}", 3, think) for i, think in enumerate((0.0, *thinks)))
    )


async def one(answer: Answer, **settings: Any) -> Sample:
    async with serving(answer) as url:
        load = Load(plan_of(asking()), LoadSettings(url=url, model="m", **settings))
        await load.run()
    (sample,) = load.samples
    return sample


async def test_a_good_answer_is_measured() -> None:
    sample = await one(well)
    assert (sample.ok, sample.status, sample.first_byte) == (True, 200, True)
    assert sample.ttft_s is not None
    assert 0.05 <= sample.ttft_s < 0.5  # the empty first frame is not yet a token
    assert sample.tpot_s is not None
    assert 0.02 <= sample.tpot_s < 0.2
    assert (sample.prompt_tokens, sample.completion_tokens, sample.cached_tokens) == (50, 3, 32)
    assert (sample.endpoint, sample.request_id) == ("10.0.0.1:8000", "r1")


async def test_what_is_asked() -> None:
    asked: list[dict[str, Any]] = []

    async def noting(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        asked.append(body)
        return await well(request, body)

    await one(noting)
    (body,) = asked
    assert (body["model"], body["max_tokens"], body["stream"]) == ("m", 3, True)
    assert body["stream_options"] == {"include_usage": True}
    assert [message["role"] for message in body["messages"]] == ["system", "user"]


async def test_a_conversation_resends_its_history() -> None:
    asked: list[list[str]] = []

    async def noting(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        asked.append([message["content"] for message in body["messages"]])
        return await well(request, body)

    async with serving(noting) as url:
        await Load(plan_of(asking(0.0, 0.01)), LoadSettings(url=url, model="m")).run()
    assert asked == [["Be brief.", "q0"], ["Be brief.", "q0", "one two three", "q1"]]


async def refusing(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    return web.json_response({"error": {}}, status=429, headers={"x-headgate-reason": "saturated"})


async def breaking_before(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def breaking_after(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    response = await opened(request)
    await response.write(frame("one"))
    await asyncio.sleep(0.02)
    assert request.transport is not None
    request.transport.abort()
    return response


async def ending_early(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    response = await opened(request)
    await response.write(frame("one"))
    return response


async def failing_inside(request: web.Request, _: dict[str, Any]) -> web.StreamResponse:
    response = await opened(request)
    await response.write(frame("one") + b'data: {"error": {"message": "out of memory"}}\n\n')
    return response


async def hanging(_: web.Request, __: dict[str, Any]) -> web.StreamResponse:
    await asyncio.sleep(5)
    return web.Response()


@pytest.mark.parametrize(
    ("answer", "error", "first_byte"),
    [
        (refusing, "429 saturated", True),
        (breaking_before, "ServerDisconnectedError", False),
        (breaking_after, "ClientPayloadError", True),
        (ending_early, "cut off", True),
        (failing_inside, "error in stream", True),
        (hanging, "timeout", False),
    ],
)
async def test_errors_are_told_apart(answer: Answer, error: str, first_byte: bool) -> None:
    sample = await one(answer, timeout_s=0.3)
    assert (sample.error, sample.first_byte, sample.ok) == (error, first_byte, False)


async def test_nobody_there_is_an_error_before_the_first_byte() -> None:
    load = Load(plan_of(asking()), LoadSettings(url="http://127.0.0.1:9", model="m"))
    report = await load.run()
    assert (report.ok, report.failed_before_first_byte) == (0, 1)
    assert report.errors == {"ClientConnectorError": 1}


async def test_arrivals_keep_their_times_whatever_the_answers_do() -> None:
    arrived: list[float] = []

    async def slow(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        arrived.append(asyncio.get_running_loop().time())
        await asyncio.sleep(0.4)
        return await well(request, body)

    async with serving(slow) as url:
        began = asyncio.get_running_loop().time()
        load = Load(plan_of(*(asking(i * 0.05) for i in range(5))), LoadSettings(url=url, model="m"))
        await load.run()
    assert len(arrived) == 5
    assert all(i * 0.05 <= at - began < i * 0.05 + 0.2 for i, at in enumerate(arrived))


async def test_the_run_ends_by_itself_and_counts_what_is_open() -> None:
    async with serving(hanging) as url:
        load = Load(
            plan_of(asking(), asking(), duration_s=0.1), LoadSettings(url=url, model="m", drain_s=0.2)
        )
        running = asyncio.create_task(load.run())
        await asyncio.sleep(0.1)
        assert (load.open, load.report().requests) == (2, 0)
        report = await running
    assert (report.requests, report.errors, load.open) == (2, {"unfinished": 2}, 0)
    assert 0.25 < report.elapsed_s < 1.0


async def test_too_many_open_requests_are_not_sent() -> None:
    async with serving(hanging) as url:
        plan = plan_of(*(asking() for _ in range(5)), duration_s=0.1)
        report = await Load(plan, LoadSettings(url=url, model="m", drain_s=0.1, max_open=3)).run()
    assert (report.requests, report.not_sent) == (3, 2)


async def test_every_sample_is_told_as_it_ends() -> None:
    told: list[Sample] = []
    async with serving(well) as url:
        load = Load(plan_of(asking(), asking()), LoadSettings(url=url, model="m"), told.append)
        await load.run()
    assert told == load.samples
    assert len(told) == 2


async def test_a_question_that_would_come_after_the_end_is_not_waited_for() -> None:
    async with serving(well) as url:
        report = await Load(plan_of(asking(0.0, 5.0), duration_s=0.5), LoadSettings(url=url, model="m")).run()
    assert report.requests == 1
    assert report.elapsed_s < 1.0


async def test_fillers_are_answered_before_the_load_begins_and_do_not_count() -> None:
    asked: list[str] = []
    fillers = tuple(f"filler {number}" for number in range(40))

    async def answer(request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        asked.append(body["messages"][-1]["content"])
        return await (error(request) if asked[-1] == "filler 3" else well(request, body))

    async def error(request: web.Request) -> web.StreamResponse:
        return web.Response(status=500)

    async with serving(answer) as url:
        load = Load(Plan((asking(),), 1.0, 1.0, fillers), LoadSettings(url=url, model="m"))
        report = await load.run()
    assert sorted(asked[:40]) == sorted(fillers)
    assert asked[40:] == ["q0"]
    assert (report.requests, report.ok) == (1, 1)
