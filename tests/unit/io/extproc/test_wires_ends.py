"""Both wires over a real port: however a stream breaks off, its request ends once and nothing is kept."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc.aio
import pytest
from tests.peer import Peer, framed
from tests.served import (
    BUFFERED,
    DUPLEX,
    LEAN,
    LOGS,
    NAMED,
    POOL,
    PROCESS,
    SSE,
    WIRES,
    Scripted,
    Served,
    Silent,
    answers_with,
    asks,
    chunk,
    last,
    logs,
    piece,
    serving,
    until,
)

from headgate.model.decisions import Decision
from headgate.model.ids import StreamId
from headgate.model.requests import InferenceRequest
from headgate.picker.actions import Action, Reject
from headgate.picker.choice import Choice
from headgate.picker.events import Event, RequestArrived, RequestEnded

BODY = b'{"model":"m","messages":[],"stream":true}'
EXOTIC = b'{"model":"m","messages":[],"stream":true,"max_tokens":1e1}'
"""Read in Python by the native wire."""
STORY = [
    asks((DUPLEX, DUPLEX)),
    piece(BODY[:9]),
    piece(BODY[9:], end=True),
    answers_with(SSE),
    chunk(b"data: {}\n\n"),
    chunk(b"data: [DONE]\n\n"),
    last(),
]
BUFFERED_STORY = [asks((BUFFERED, BUFFERED)), piece(EXOTIC, end=True), *STORY[3:]]


def cuts(story: Sequence[bytes]) -> list[bytes]:
    """What was sent when it broke off: after every message and in the middle of every one, its prefix too."""
    found = []
    for count in range(len(story) + 1):
        whole = b"".join(map(framed, story[:count]))
        found.append(whole)
        if count < len(story):
            rest = framed(story[count])
            found += [whole + rest[:3], whole + rest[: len(rest) // 2]]
    return found


async def say_all(served: Served, streams: Sequence[StreamId]) -> None:
    """The access log tells the ends."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as opened:
        channel: Any = opened
        call = channel.stream_unary(LOGS)()
        await call.write(logs(list(streams)))
        await call.done_writing()
        assert await call == b""


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("hold", [False, True], ids=["answered", "held"])
@pytest.mark.parametrize("how", ["reset", "finish", "vanish"])
@pytest.mark.parametrize("lean", [False, True], ids=["foreign", "lean"])
async def test_a_stream_broken_off_anywhere(wire: str, hold: bool, how: str, lean: bool) -> None:
    machine = Scripted()
    machine.hold = hold
    sent = cuts(BUFFERED_STORY if lean else STORY)
    metadata = LEAN if lean else NAMED

    def talk(port: int, settled: bool) -> None:
        with Peer(port) as peer:
            streams = [peer.open(PROCESS, metadata) for _ in sent]
            for stream, data in zip(streams, sent, strict=True):
                if stream not in peer.ended:
                    peer.send_raw(stream, data)
            while settled and (peer.listen_for(0.05) or not machine.streams()):
                pass
            left = [stream for stream in streams if stream not in peer.ended]
            if how == "reset":
                peer.reset(*left)
            elif how == "finish":
                for stream in left:
                    peer.finish(stream)
                for stream in left:
                    peer.end_of(stream)
            else:
                peer.vanish()

    async with serving(wire, machine) as served:
        for settled in (False, True):
            await asyncio.to_thread(talk, served.port, settled)
        while served.kept():
            await say_all(served, machine.streams())
            await asyncio.sleep(0.01)
        assert served.panics() == 0
    assert machine.streams()
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_the_log_may_tell_the_end_before_the_stream_breaks_off(wire: str) -> None:
    machine = Scripted()
    parts = [framed(message) for message in BUFFERED_STORY]
    told, gone = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            streams = [peer.open(PROCESS, LEAN) for _ in range(30)]
            for number, stream in enumerate(streams):
                peer.send_raw(stream, b"".join(parts[: 2 + number % 3]))
                peer.take(stream, 2)
            asyncio.run_coroutine_threadsafe(told.wait(), loop).result()
            peer.reset(*(stream for stream in streams[:15] if stream not in peer.ended))
            peer.vanish()
        loop.call_soon_threadsafe(gone.set)

    async with serving(wire, machine) as served:
        talking = asyncio.create_task(asyncio.to_thread(talk, served.port))
        await until(lambda: len(machine.streams()) == 30)
        await say_all(served, machine.streams())
        await until(lambda: len(machine.ends()) == 30)
        told.set()
        await talking
        await served.quiet()
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


class Refusing(Scripted):
    """Refuses everything."""

    def handle(self, event: Event, now: float) -> list[Action]:
        """See `hub.Machine`."""
        self.events.append(event)
        if not isinstance(event, RequestArrived):
            return []
        decision = Decision(request_id=event.request.id, pool=POOL, policy="p", at=0.0)
        return [Reject(event.stream, 429, "saturated", "full", 1, decision)]


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(
    "body", [BODY, EXOTIC, b"{", b"x" * 200], ids=["read", "exotic", "wrong", "too large"]
)
async def test_a_refused_request_that_breaks_off_has_no_end(wire: str, body: bytes) -> None:
    machine = Refusing()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            streams = [peer.open(PROCESS, NAMED) for _ in range(50)]
            for stream in streams:
                peer.offer(stream, framed(asks()) + framed(piece(body, end=True)))
            peer.reset(*streams[:25])
            for stream in streams[25:]:
                peer.take(stream, 1)
                assert peer.end_of(stream) == "0"

    async with serving(wire, machine, body_limit=100) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
    ends = [event for event in machine.events if isinstance(event, RequestEnded)]
    assert {event.stream for event in ends} <= set(machine.streams())
    assert {event.ending for event in ends} <= {"aborted"}


class Failing(Silent):
    """A listener with a fault."""

    def decided(
        self, stream: StreamId, request: InferenceRequest, decision: Choice | Decision, took_s: float
    ) -> None:
        """See `hub.Observer`."""
        raise RuntimeError("a fault")


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request_whose_answer_failed_here_is_over(wire: str) -> None:
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            stream = peer.open(PROCESS, NAMED)
            peer.send(stream, asks(), piece(BODY, end=True))
            assert peer.end_of(stream) in ("reset", "2")

    async with serving(wire, machine, listener=Failing()) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
    assert machine.ends() == {machine.streams()[0]: 1}


@pytest.mark.parametrize("wire", WIRES)
async def test_many_clients_that_go_at_once_leave_the_connection_to_the_others(wire: str) -> None:
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            kept = peer.open(PROCESS, NAMED)
            peer.send(kept, asks(), piece(BODY, end=True))
            peer.take(kept, 2)
            peer.reset(*(peer.open(PROCESS, NAMED) for _ in range(500)))
            peer.send(kept, answers_with(SSE, end=True))
            peer.take(kept, 1)
            assert peer.end_of(kept) == "0"

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
    assert machine.ends() == {machine.streams()[0]: 1}


@pytest.mark.parametrize("wire", WIRES)
async def test_what_was_on_its_way_to_a_stream_that_was_left_harms_no_other(wire: str) -> None:
    """Our own Envoy sends further chunks before it hears that its first one was enough."""
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            for _ in range(1250):
                stream = peer.open(PROCESS, LEAN)
                peer.send(stream, *BUFFERED_STORY[:2])
                peer.take(stream, 2)
                peer.send(stream, STORY[4])
                assert peer.end_of(stream) == "0"
                peer.send_late(stream, framed(STORY[5]))
            kept = peer.open(PROCESS, LEAN)
            peer.send(kept, *BUFFERED_STORY[:2])
            peer.take(kept, 2)

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        while served.kept():
            await say_all(served, machine.streams())
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)
