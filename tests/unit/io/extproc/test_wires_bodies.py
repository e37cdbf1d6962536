"""Both wires over a real port: however a body is cut and carried, the same is read and the same goes on."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import grpc.aio
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.forms import CASES
from tests.served import (
    BUFFERED,
    DUPLEX,
    LEAN,
    NAMED,
    POST,
    PROCESS,
    WIRES,
    Scripted,
    asks,
    piece,
    serving,
    tail,
)

from headgate.io.extproc.service import EOF
from headgate.model.requests import InferenceRequest
from headgate.wire.api import BadRequest
from headgate.wire.parse import rename, understand
from headgate.wire.rewrite import replace_model

TARGET = 'new "é"'
MESSAGES = b'"messages":[{"role":"user","content":"hi"}]'
BODIES: dict[str, tuple[bytes, str | None]] = {
    "plain": (b'{"model":"m",' + MESSAGES + b',"stream":true,"max_tokens":5}', "m"),
    "escapes": (b'{"model":"m\\u00e9\\n\\"\\\\/",' + MESSAGES + b"}", 'mé\n"\\/'),
    "escaped key": (b'{"mod\\u0065l":"m",' + MESSAGES + b"}", "m"),
    "a pair": (b'{"model":"\\ud83d\\ude00\xf0\x9f\x98\x80",' + MESSAGES + b"}", "😀😀"),
    "half a pair": (b'{"model":"\\ud83dx",' + MESSAGES + b"}", "\N{REPLACEMENT CHARACTER}x"),
    "no UTF-8": (
        b'{"model":"m\xff","messages":[{"role":"user","content":"\xc3"}]}',
        "m\N{REPLACEMENT CHARACTER}",
    ),
    "numbers": (
        b'{"model":"m",'
        + MESSAGES
        + b',"max_tokens":9007199254740993,"seed":123456789012345678901234567890}',
        "m",
    ),
    "beyond all numbers": (b'{"model":"m",' + MESSAGES + b',"max_tokens":1e400}', "m"),
    "twice": (b'{"model":"a",' + MESSAGES + b',"model":"b","max_tokens":1,"max_tokens":2}', "b"),
    "inside": (b'{"metadata":{"model":"x"},"model":"m","messages":[{"model":"y","content":"z"}]}', "m"),
    "a mark": (b'\xef\xbb\xbf {"model":"m",' + MESSAGES + b"}", "m"),
    "not whole": (b'{"model":"m","messages":[{"role"', None),
    "more behind": (b'{"model":"m",' + MESSAGES + b"}}", None),
    "no object": (b'["model","m"]', None),
    "no name": (b'{"model":17,' + MESSAGES + b"}", None),
    "nothing": (b"", None),
    "blocks": (
        json.dumps(
            {"model": "m", "messages": [{"role": "user", "content": "aé😀" * 45}]}, ensure_ascii=False
        ).encode(),
        "m",
    ),
}
"""Bodies, and the models that are read from them; None: the client is told that it is wrong."""

Messages = Sequence[bytes]


def ways(body: bytes) -> list[Messages]:
    """Cut in two at every byte, into single bytes, with empty pieces between, and ended by trailers."""
    cuts = [(body[:at], body[at:]) for at in range(len(body) + 1)]
    found: list[Messages] = [[piece(one), piece(two, end=True)] for one, two in cuts]
    for one, two in cuts[::9]:
        empty = piece(b"")
        found.append([empty, piece(one), empty, empty, piece(two), piece(b"", end=True)])
        found.append([piece(one), empty, piece(two), tail()])
    found.append([*(piece(bytes([one])) for one in body), piece(b"", end=True)])
    return found


async def ask(channel: Any, metadata: Any, messages: Messages) -> list[Any]:
    """One stream to its end, all sent at once."""
    call = channel.stream_stream(PROCESS)(iter(messages), metadata=metadata)
    return [pb.ProcessingResponse.FromString(data) async for data in call]


async def ask_in_turn(channel: Any, metadata: Any, messages: Messages) -> list[Any]:
    """One stream to its end, each message answered before the next."""
    call = channel.stream_stream(PROCESS)(metadata=metadata)
    answers = []
    for message in messages:
        await call.write(message)
        data = await call.read()
        answers.append(pb.ProcessingResponse.FromString(data))
        if answers[-1].HasField("immediate_response"):
            break
    await call.done_writing()
    assert await call.read() is EOF
    return answers


def summary(answers: list[Any]) -> dict[str, Any]:
    """What the data plane is told, whatever the pieces; the stream's own number left out."""
    said: dict[str, Any] = {
        "kinds": [kind for kind, _ in itertools.groupby(one.WhichOneof("response") for one in answers)]
    }
    body = b""
    for one in answers:
        part = getattr(one, one.WhichOneof("response"))
        if one.HasField("immediate_response"):
            said["error"] = (part.status.code, bytes(part.body), part.details)
            continue
        common = part.response if one.WhichOneof("response") != "request_trailers" else None
        if common is None:
            continue
        mutation = common.body_mutation
        body += mutation.body + mutation.streamed_response.body
        if common.HasField("header_mutation"):
            put = {each.header.key: each.header.raw_value for each in common.header_mutation.set_headers}
            said["headers"] = put, sorted(common.header_mutation.remove_headers)
        if "envoy.lb" in one.dynamic_metadata:
            said["pick"] = dict(one.dynamic_metadata["envoy.lb"])
    return {**said, "body": body}


@pytest.fixture
async def both() -> AsyncIterator[dict[str, tuple[Scripted, Any]]]:
    """By wire: the machine behind it and a channel to it."""
    made = {}
    async with AsyncExitStack() as stack:
        for wire in WIRES:
            machine = Scripted(TARGET)
            served = await stack.enter_async_context(serving(wire, machine))
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{served.port}")
            made[wire] = machine, await stack.enter_async_context(channel)
        yield made


def wanted(body: bytes) -> InferenceRequest | BadRequest:
    return understand({**POST, "content-length": str(len(body))}, body, fallback_id="?")


@pytest.mark.parametrize("name", BODIES)
async def test_a_full_duplex_body_cut_anywhere(name: str, both: Any) -> None:
    body, model = BODIES[name]
    headers = {**POST, "content-length": str(len(body)), "accept-encoding": "gzip"}
    sent = [[asks((DUPLEX, DUPLEX), headers), *way] for way in ways(body)]
    found = {}
    for wire, (machine, channel) in both.items():
        answers = await asyncio.gather(*(ask(channel, NAMED, messages) for messages in sent))
        kinds: dict[str, dict[str, Any]] = {}
        for messages, each in zip(sent, answers, strict=True):
            one = summary(each)
            trailers = one["kinds"][-1] == "request_trailers"
            assert trailers == (messages[-1] == tail() and model is not None)
            if trailers:
                one["kinds"].pop()
            kinds[repr(one)] = one
        (one,) = kinds.values()
        request = wanted(body)
        if model is None:
            assert isinstance(request, BadRequest)
            assert (one["error"][0], request.message) == (
                400,
                json.loads(one["error"][1])["error"]["message"],
            )
            assert machine.arrived() == []
        else:
            assert isinstance(request, InferenceRequest)
            assert request.model == model
            assert machine.arrived() == [request] * len(sent)
            assert one["kinds"] == ["request_headers", "request_body"]
            new = replace_model(body, TARGET)
            assert one["body"] == new != body
            assert one["headers"][0]["content-length"] == str(len(new)).encode()
        found[wire] = one
    assert all(one == found["portable"] for one in found.values())


@pytest.mark.parametrize("metadata", [NAMED, LEAN], ids=["foreign", "lean"])
async def test_a_buffered_body(metadata: Any, both: Any) -> None:
    for body, model in BODIES.values():
        found: dict[str, dict[str, Any]] = {}
        for wire, (machine, channel) in both.items():
            machine.events.clear()
            for end in ([piece(body, end=True)], [piece(body), tail()]):
                one = summary(await ask_in_turn(channel, metadata, [asks((BUFFERED, BUFFERED)), *end]))
                if one["kinds"][-1] == "request_trailers":
                    one["kinds"].pop()
                assert found.setdefault(wire, one) == one
            assert len(machine.arrived()) == (0 if model is None else 2)
            assert {request.model for request in machine.arrived()} <= {model}
            if model is not None:
                assert found[wire]["body"] == replace_model(body, TARGET)
        assert all(one == found["portable"] for one in found.values()), body


@pytest.mark.parametrize("name", ["curl", "model first", "twice", "no ASCII", "blanks around", "no end"])
async def test_a_form_cut_anywhere_is_renamed_in_place(name: str, both: Any) -> None:
    kind, body, model = CASES[name]
    headers = {
        **POST,
        ":path": "/v1/audio/transcriptions",
        "content-type": kind,
        "content-length": str(len(body)),
    }
    sent = [[asks((DUPLEX, DUPLEX), headers), *way] for way in ways(body)]
    new = rename(headers, body, TARGET)
    assert new.count(TARGET.encode()) == body.count(b'"model"') and new != body
    for machine, channel in both.values():
        answers = await asyncio.gather(*(ask(channel, NAMED, messages) for messages in sent))
        found = [summary(each) for each in answers]
        assert {one["body"] for one in found} == {new}
        assert {one["headers"][0]["content-length"] for one in found} == {str(len(new)).encode()}
        assert [(each.model, each.api) for each in machine.arrived()] == [(model, "audio")] * len(sent)
        messages = [asks((BUFFERED, BUFFERED), headers), piece(body, end=True)]
        assert summary(await ask_in_turn(channel, LEAN, messages))["body"] == new


def test_the_ways_are_as_many_as_said() -> None:
    body = BODIES["plain"][0]
    assert len(ways(body)) > len(body)
    pieces = [[pb.ProcessingRequest.FromString(each).request_body.body for each in way] for way in ways(body)]
    assert {b"".join(each) for each in pieces} == {body}
