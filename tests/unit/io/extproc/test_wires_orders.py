"""Both wires over a real port: every order of messages, those that Envoy makes and those that it should not."""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import grpc.aio
import msgspec
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.peer import Peer, framed
from tests.served import (
    BUFFERED,
    DUPLEX,
    LEAN,
    LOGS,
    NAMED,
    POST,
    PROCESS,
    SSE,
    STREAMED,
    WIRES,
    Scripted,
    Served,
    answers_with,
    asks,
    chunk,
    last,
    logs,
    piece,
    serving,
    tail,
)

from headgate.io.extproc.service import EOF
from headgate.model.ids import StreamId
from headgate.picker.actions import Route
from headgate.picker.events import Event, RequestArrived, RequestEnded
from headgate.wire.extproc import Conversation, Settings, WireError
from headgate.wire.said import Said

BODY = b'{"model":"m","messages":[],"stream":true}'
KINDS: dict[str, bytes] = {
    "request": b"",  # made with an id of its own
    "body": piece(BODY),
    "body.": piece(BODY, end=True),
    "trailers": tail(),
    "response": answers_with(SSE),
    "data": chunk(b'data: {"usage":{"prompt_tokens":1,"completion_tokens":2}}\n\n'),
    "data.": chunk(b"", end=True),
    "response trailers": last(),
    "nothing": pb.ProcessingRequest().SerializeToString(),
    "unknown": b"\xfa\x3f\x01x",
}
DEPTH = 4
MODES = {"duplex": (DUPLEX, DUPLEX), "buffered": (BUFFERED, BUFFERED), "streamed": (STREAMED, STREAMED)}

Order = tuple[str, ...]


class Told(msgspec.Struct):
    """What a conversation comes to: answers after each message, how it ended, events."""

    answers: list[list[Any]] = []
    status: str = "open"
    events: list[Event] = []


def _decoded(data: bytes) -> Any:
    """An answer without the stream's own number."""
    message = pb.ProcessingResponse.FromString(data)
    if message.HasField("dynamic_metadata"):
        message.dynamic_metadata["headgate"]["stream"] = ""
    return message


def message(kind: str, mode: str, name: str) -> bytes:
    if kind != "request":
        return KINDS[kind]
    return asks(MODES[mode], {**POST, "x-request-id": name})


def told(order: Order, mode: str, lean: bool, name: str) -> Told:
    """What the portable conversation says by itself, each message answered before the next."""
    machine, talk = Scripted(), Conversation(Settings("n"), 1, lean=lean)
    found = Told()

    def tell(said: Said) -> None:
        for action in machine.handle(said, 0.0):
            assert isinstance(action, Route)
            talk.route(action.endpoints, action.target_model, action.decision.summary())

    for kind in order:
        try:
            for said in talk.receive(message(kind, mode, name)):
                tell(said)
        except WireError:
            found.status = "3"
            break
        found.answers.append([_decoded(data) for data in talk.outbox])
        talk.outbox.clear()
        if talk.leaving:
            found.status = "0"
            break
    if talk.awaits_log():
        tell(RequestEnded(StreamId(1), "complete", 200))
    if (over := talk.closed()) is not None:
        tell(over)
    found.events = machine.events
    return found


def orders(mode: str, lean: bool, so_far: Order = ()) -> Iterator[Order]:
    """Every order in which the stream ends with the last message, or is as long as we look."""
    for kind in KINDS:
        order = (*so_far, kind)
        if len(order) == DEPTH or told(order, mode, lean, "r").status != "open":
            yield order
        else:
            yield from orders(mode, lean, order)


def by_request(machine: Scripted) -> dict[str, list[Event]]:
    """The events of each stream, by the id of its request."""
    names = {event.stream: event.request.id for event in machine.events if isinstance(event, RequestArrived)}
    found: dict[str, list[Event]] = defaultdict(list)
    for event in machine.events:
        assert not isinstance(event, RequestEnded) or event.stream in names
        stream = getattr(event, "stream", StreamId(0))
        found[names[stream]].append(msgspec.structs.replace(event, stream=StreamId(1)))
    return found


async def tell_the_log(channel: Any, machine: Scripted) -> None:
    """As Envoy does: the end of every request that there was."""
    call: Any = channel.stream_unary(LOGS)()
    await call.write(logs(machine.streams()))
    await call.done_writing()
    assert await call == b""


async def in_turn(channel: Any, metadata: Any, messages: Sequence[bytes], wanted: Told) -> tuple[Any, str]:
    """Each message is sent when the one before has all its answers."""
    call = channel.stream_stream(PROCESS)(metadata=metadata)
    answers: list[list[Any]] = []
    try:
        for data, expected in zip(messages, [*wanted.answers, []], strict=False):
            await call.write(data)
            answers.append([_decoded(await call.read()) for _ in expected])
        if wanted.status == "open":
            await call.done_writing()
        assert await call.read() is EOF
    except grpc.aio.AioRpcError:
        pass
    return answers, str((await call.code()).value[0])


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    ("mode", "lean"), [("duplex", False), ("buffered", False), ("streamed", False), ("buffered", True)]
)
async def test_every_order_is_answered_as_the_conversation_does(wire: str, mode: str, lean: bool) -> None:
    machine = Scripted()
    metadata = LEAN if lean else NAMED
    every = {f"r{number}": order for number, order in enumerate(orders(mode, lean))}
    async with serving(wire, machine) as served:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
            wanted = {name: told(order, mode, lean, name) for name, order in every.items()}
            names = list(every)
            for start in range(0, len(names), 200):
                some = names[start : start + 200]
                found = await asyncio.gather(
                    *(
                        in_turn(
                            channel,
                            metadata,
                            [message(kind, mode, name) for kind in every[name]],
                            wanted[name],
                        )
                        for name in some
                    )
                )
                for name, (answers, status) in zip(some, found, strict=True):
                    expected = wanted[name]
                    assert status == ("3" if expected.status == "3" else "0"), every[name]
                    assert answers[: len(expected.answers)] == expected.answers, every[name]
            await tell_the_log(channel, machine)
        await served.quiet()
        events = by_request(machine)
        for name, order in every.items():
            assert events.get(name, []) == wanted[name].events, order


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("lean", [False, True])
async def test_whatever_comes_without_waiting_each_request_ends_once(wire: str, lean: bool) -> None:
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            for number, order in enumerate(orders("buffered" if lean else "duplex", lean)):
                if number % 50 == 0:
                    peer.listen_for(0.02)  # room in the connection's window comes back
                stream = peer.open(PROCESS, LEAN if lean else NAMED)
                whole = b"".join(framed(message(kind, "duplex", f"r{number}")) for kind in (*order, *order))
                assert peer.offer(stream, whole) == len(whole)
                if number % 3 == 0:
                    peer.finish(stream)
                elif number % 3 == 1:
                    peer.reset(stream)
            peer.listen_for(0.05)

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        await _end_all(served, machine)
    assert set(machine.ends()) == set(machine.streams())
    assert set(machine.ends().values()) == {1}


async def _end_all(served: Served, machine: Scripted) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as channel:
        while served.kept():
            await tell_the_log(channel, machine)
            await asyncio.sleep(0.02)
        assert served.panics() == 0


LIMIT = 50_000
BROKEN = {
    "garbage": (framed(b"\xff\xff\xff"), {"3"}),
    "a field cut off": (framed(b"\x12\x7f"), {"3"}),
    "an empty message": (framed(b""), {"3"}),
    "too long": (framed(piece(b"x" * LIMIT)), {"8"}),
    "a length beyond all limits": (b"\0\xff\xff\xff\xff", {"8"}),
    "compressed": (b"\1" + framed(asks())[1:], {"12", "13"}),
    "half a message": (framed(asks())[:-3], {"3", "13", "0"}),
    "half a prefix": (b"\0\0", {"3", "13", "0"}),
}
"""Bytes, and the statuses that may come for them; `reset` may always."""


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("what", BROKEN)
@pytest.mark.parametrize("after", ["at once", "after the request"])
async def test_broken_bytes_end_their_stream_alone(wire: str, what: str, after: str) -> None:
    machine = Scripted()
    data, statuses = BROKEN[what]

    def talk(port: int) -> None:
        with Peer(port) as peer:
            good, bad = peer.open(PROCESS, NAMED), peer.open(PROCESS, NAMED)
            peer.send(good, asks())
            if after == "after the request":
                peer.send(bad, asks(), piece(BODY, end=True))
                peer.take(bad, 2)
            peer.send_raw(bad, data)
            if bad not in peer.ended:
                peer.finish(bad)
            assert peer.end_of(bad) in statuses | {"reset"}
            peer.send(good, piece(BODY, end=True))
            peer.take(good, 2)
            peer.send(good, answers_with({":status": "200"}, end=True))
            peer.take(good, 1)

    async with serving(wire, machine, message_bytes=LIMIT) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
        assert served.panics() == 0
    assert len(machine.streams()) == (2 if after == "after the request" else 1)
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)
