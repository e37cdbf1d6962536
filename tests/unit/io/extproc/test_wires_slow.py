"""Both wires over a real port when somebody is slow: peers that stop reading, and our own event loop."""

import asyncio
import threading
import time

import psutil
import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from tests.peer import Peer, framed
from tests.served import NAMED, PROCESS, SSE, WIRES, Scripted, answers_with, asks, chunk, piece, serving

BODY = b'{"model":"m","messages":[],"stream":true}'
MIB = 1 << 20


def rss() -> int:
    """Resident bytes of this process: the server's and its peer's."""
    return int(psutil.Process().memory_info().rss)


def started(peer: Peer) -> int:
    """A full-duplex stream whose answer has begun."""
    stream = peer.open(PROCESS, NAMED)
    peer.send(stream, asks(), piece(BODY, end=True))
    peer.take(stream, 2)
    peer.send(stream, answers_with(SSE))
    peer.take(stream, 1)
    return stream


def fill_up(peer: Peer, streams: list[int], numbered: list[bytes], at_most: int) -> dict[int, int]:
    """Sends each stream the frames in turn until no window lets any through; the bytes that each has taken."""
    whole = b"".join(numbered)
    sent = dict.fromkeys(streams, 0)
    while True:
        moved = 0
        for stream in streams:
            start = sent[stream] % len(whole)
            taken = peer.offer(stream, whole[start : start + MIB // 8])
            sent[stream] += taken
            moved += taken
            assert sent[stream] < at_most, f"{sent[stream]} bytes were taken from a peer that does not read"
        if not moved and not peer.listen_for(0.3):
            return sent


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("size", "many"), [(512, 2), (16_000, 12)], ids=["small", "large"])
async def test_peers_that_stop_reading_are_not_read_from(wire: str, size: int, many: int) -> None:
    machine = Scripted()
    frames = [framed(chunk(f"{number:08}".encode() * (size // 8))) for number in range(64)]
    whole = b"".join(frames)
    grown: list[int] = []

    def talk(port: int) -> None:
        with Peer(port) as peer, Peer(port) as other:
            streams = [started(peer) for _ in range(many)]
            peer.unread.update(streams)
            before = rss()
            sent = fill_up(peer, streams, frames, 8 * MIB)
            grown.append(rss() - before)
            for one in (peer, other):
                live = started(one)
                one.send(live, chunk(b"x", end=True))
                one.take(live, 1)
                assert one.end_of(live) == "0"
            peer.reset(*streams[: many // 2])
            for stream in streams[many // 2 :]:
                peer.read_again(stream)
                part = sent[stream] % len(whole)
                rest = len(frames[0]) - part % len(frames[0])
                peer.send_raw(stream, whole[part : part + rest])
                count = (sent[stream] + rest) // len(frames[0])
                back = [pb.ProcessingResponse.FromString(data) for data in peer.take(stream, count)]
                echo = b"".join(
                    each.response_body.response.body_mutation.streamed_response.body for each in back
                )
                expected = b"".join(f"{number % 64:08}".encode() * (size // 8) for number in range(count))
                assert echo == expected
                peer.send(stream, chunk(b"", end=True))
                assert peer.end_of(stream) == "0"

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
        assert served.panics() == 0
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)
    print(f"\n{wire}: {many} unread streams of {size}-byte chunks: {grown[0] / MIB:+.0f} MiB")
    assert grown[0] < many * 8 * MIB


@pytest.mark.parametrize("wire", WIRES)
async def test_peers_that_never_read_give_everything_back_when_they_go(wire: str) -> None:
    """What they sent filled the connection's window; a later request goes through it."""
    machine = Scripted()
    frame = framed(chunk(b"x" * 16_000))

    def talk(port: int) -> None:
        with Peer(port) as peer:
            for _ in range(2):
                streams = [started(peer) for _ in range(20)]
                peer.unread.update(streams)
                fill_up(peer, streams, [frame], 8 * MIB)
                peer.reset(*streams)
            stream = started(peer)
            for _ in range(200):
                peer.send(stream, chunk(b"y" * 50_000))
                peer.take(stream, 1)

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_messages_that_tell_the_machine_nothing_do_not_stop_the_others(wire: str) -> None:
    """A backlog full of them is no reason to wait for one that tells something."""
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            one, other = peer.open(PROCESS, NAMED), started(peer)
            peer.send(one, asks(), *(piece(b" ") for _ in range(100)))
            peer.send(other, *(chunk(b"x") for _ in range(100)))
            peer.take(other, 100)
            peer.send(one, piece(BODY, end=True))
            peer.take(one, 2)

    async with serving(wire, machine, backlog=8) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()


STREAMS = 500
STALL_S = 2.0


@pytest.mark.parametrize("wire", WIRES)
async def test_nothing_is_lost_while_the_event_loop_stands_still(wire: str) -> None:
    machine = Scripted("new")
    prompt = b"p" * 16_000
    pieces = [piece(b'{"prompt":"'), *[piece(prompt)] * 8, piece(b'","model":"m"}', end=True)]
    data = b"".join(map(framed, [asks(headers={":method": "POST", ":path": "/v1/completions"}), *pieces]))
    wanted = b'{"prompt":"' + prompt * 8 + b'","model":"new"}'
    ready, stalled, over = threading.Event(), threading.Event(), threading.Event()
    taken: list[int] = []

    def talk(port: int) -> None:
        with Peer(port) as peer:
            streams = [peer.open(PROCESS, NAMED) for _ in range(STREAMS)]
            peer.flush()
            ready.set()
            stalled.wait()
            sent = dict.fromkeys(streams, 0)
            while not over.is_set():
                for stream in streams:
                    sent[stream] += peer.offer(stream, data[sent[stream] :])
                peer.listen_for(0.02)
            taken.append(sum(sent.values()))
            for stream in streams:
                peer.send_raw(stream, data[sent[stream] :])
                back = [pb.ProcessingResponse.FromString(each) for each in peer.take(stream, 4)]
                body = b"".join(
                    each.request_body.response.body_mutation.streamed_response.body for each in back
                )
                assert body == wanted
                peer.reset(stream)

    async with serving(wire, machine) as served:
        talking = asyncio.create_task(asyncio.to_thread(talk, served.port))
        while not ready.is_set():
            await asyncio.sleep(0.01)
        before = rss()
        stalled.set()
        time.sleep(STALL_S)  # noqa: ASYNC251  the event loop stands still: that is the test
        grown = rss() - before
        over.set()
        await talking
        await served.quiet()
        assert served.panics() == 0
    print(
        f"\n{wire}: {taken[0] / MIB:.1f} of {len(data) * STREAMS / MIB:.0f} MiB taken while stalled: {grown / MIB:+.0f} MiB"
    )
    assert len(machine.streams()) == STREAMS
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)
    assert grown < 3 * taken[0] + 32 * MIB
