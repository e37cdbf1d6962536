"""Both wires and what the streams of one connection share: windows, budgets, and the peer's life."""

import asyncio
import time
from collections.abc import Callable

import pytest
from tests.peer import Peer, framed
from tests.served import (
    BUFFERED,
    LEAN,
    LOGS,
    NAMED,
    PROCESS,
    SSE,
    WIRES,
    Scripted,
    answers_with,
    asks,
    chunk,
    logs,
    piece,
    serving,
    until,
)

from headgate.model.ids import StreamId
from headgate.picker.events import RequestEnded

BODY = b'{"model":"m","messages":[],"stream":true}'
GET = {":method": "GET", ":path": "/x"}
KIB = 1 << 10


def started(peer: Peer) -> int:
    """A full-duplex stream whose answer has begun."""
    stream = peer.open(PROCESS, NAMED)
    peer.send(stream, asks(), piece(BODY, end=True))
    peer.take(stream, 2)
    peer.send(stream, answers_with(SSE))
    peer.take(stream, 1)
    return stream


def left(peer: Peer) -> None:
    """A request that is left to the access log."""
    stream = peer.open(PROCESS, LEAN)
    peer.send(stream, asks((BUFFERED, BUFFERED), GET, end=True))
    peer.take(stream, 1)
    assert peer.end_of(stream) == "0"


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("size", [100, 16_000])
async def test_many_streams_that_are_not_read_do_not_stall_another(wire: str, size: int) -> None:
    machine = Scripted()
    frames = framed(chunk(b"x" * size)) * (256 * KIB // size)

    def talk(port: int) -> None:
        with Peer(port) as peer:
            streams = [started(peer) for _ in range(64)]
            peer.unread.update(streams)
            for _ in range(6):
                for stream in streams:
                    peer.offer(stream, frames)
                while peer.listen_for(0.1):
                    pass
            live = started(peer)
            for _ in range(40):
                peer.send(live, chunk(b"y" * 50_000))
                peer.take(live, 1)
            peer.send(live, chunk(b"", end=True))
            assert peer.end_of(live) == "0"
            assert peer.lost is None
            assert not [stream for stream in streams if stream in peer.ended]
            peer.reset(*streams)

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_what_lies_unread_has_a_budget_and_comes_back(wire: str) -> None:
    """Without it 400 streams would have 100 MiB here."""
    machine = Scripted()
    frames = framed(chunk(b"x" * 16_000)) * 8

    def talk(port: int) -> None:
        with Peer(port) as peer:
            streams = [started(peer) for _ in range(400)]
            peer.unread.update(streams)
            taken = dict.fromkeys(streams, 0)
            for _ in range(6):
                for stream in streams:
                    start = taken[stream] % len(frames)
                    taken[stream] += peer.offer(stream, frames[start:])
                while peer.listen_for(0.1):
                    pass
            # Each stream's answers fill 64 KiB of the peer's own window first.
            assert sum(taken.values()) - 400 * 64 * KIB < 80 << 20
            assert not peer.ended.keys() & set(streams)
            live = started(peer)
            for _ in range(10):
                peer.send(live, chunk(b"y" * 50_000))
                peer.take(live, 1)
            one = streams[0]
            peer.read_again(one)
            peer.take(one, taken[one] // (len(frames) // 8))
            peer.reset(*streams[1:])
            for _ in range(10):
                peer.send(live, chunk(b"y" * 50_000))
                peer.take(live, 1)
            assert peer.lost is None

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
        await served.quiet()
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_connection_carries_very_many_small_messages(wire: str) -> None:
    """While our event loop stands still: nothing of them is heard before all have been sent."""
    machine = Scripted()
    machine.hold = True
    message, streams, each = framed(piece(b" ")), 600, 60

    def talk(port: int) -> None:
        with Peer(port) as peer:
            opened = [peer.open(PROCESS, NAMED) for _ in range(streams)]
            for stream in opened:
                peer.send(stream, asks(headers={":method": "POST", ":path": "/v1/completions"}))
            for _ in range(each):
                for stream in opened:
                    peer.write_alone(stream, message)
                peer.flush()
            while peer.listen_for(0.2):
                pass
            assert peer.lost is None
            peer.reset(*opened)

    async with serving(wire, machine, backlog=8) as served:
        talking = asyncio.create_task(asyncio.to_thread(talk, served.port))
        await asyncio.sleep(0.3)
        time.sleep(1.0)  # noqa: ASYNC251  the event loop stands still: that is the test
        await talking
        await served.quiet()


@pytest.mark.parametrize("wire", WIRES)
async def test_headers_without_end_are_refused(wire: str) -> None:
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            stream = peer.open(PROCESS, (*NAMED, *((f"x-{number}", "y" * 1000) for number in range(100))))
            peer.send(stream, asks(headers=GET, end=True))
            assert peer.end_of(stream) != "0"
            other = peer.open(PROCESS, NAMED)
            peer.send(other, asks(headers=GET, end=True))
            peer.take(other, 1)

    async with serving(wire, machine) as served:
        await asyncio.to_thread(talk, served.port)
    assert len(machine.streams()) == 1


# ---- the peer's life


@pytest.mark.parametrize("wire", WIRES)
async def test_a_peer_that_falls_silent_is_given_up(wire: str) -> None:
    """It reads nothing and answers nothing, as one whose machine lost its power."""
    machine = Scripted()
    machine.hold = True

    def fall_silent(port: int) -> Peer:
        peer = Peer(port)
        stream = peer.open(PROCESS, NAMED)
        peer.send(stream, asks(headers=GET, end=True))
        return peer

    async with serving(wire, machine, ping_s=0.5) as served:
        peer = await asyncio.to_thread(fall_silent, served.port)
        await until(machine.arrived)
        await until(machine.ends)
        await served.quiet()
        peer.vanish()


@pytest.mark.parametrize("wire", WIRES)
async def test_a_peer_that_answers_pings_is_kept(wire: str) -> None:
    machine = Scripted()
    machine.hold = True

    def talk(port: int) -> None:
        with Peer(port) as peer:
            stream = peer.open(PROCESS, NAMED)
            peer.send(stream, asks(headers=GET, end=True))
            end = time.monotonic() + 5
            while time.monotonic() < end:
                peer.listen_for(0.1)
            assert peer.lost is None
            assert stream not in peer.ended

    async with serving(wire, machine, ping_s=1.0) as served:
        await asyncio.to_thread(talk, served.port)


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("spoke", [False, True], ids=["mute", "idle"])
async def test_a_connection_without_streams_is_closed(wire: str, spoke: bool) -> None:
    def talk(port: int) -> None:
        with Peer(port) as peer, Peer(port) as busy:
            if spoke:
                first = peer.open(PROCESS, NAMED)
                peer.send(first, asks(headers=GET, end=True))
                peer.take(first, 1)
                peer.finish(first)
                peer.end_of(first)
            stream = busy.open(LOGS)
            busy.send(stream, logs([], "envoy"))
            end = time.monotonic() + 20
            while peer.lost is None:
                assert time.monotonic() < end
                peer.listen_for(0.1)
                busy.listen_for(0.1)
            assert busy.lost is None
            assert not busy.leaving

    async with serving(wire, Scripted(), ping_s=1.0, idle_s=1.0) as served:
        await asyncio.to_thread(talk, served.port)


@pytest.mark.parametrize("wire", WIRES)
async def test_a_request_that_was_left_outlives_the_idle_time_of_its_connection(wire: str) -> None:
    machine = Scripted()

    def talk(port: int) -> None:
        with Peer(port) as peer:
            left(peer)
            end = time.monotonic() + 3
            while time.monotonic() < end:
                if peer.lost is None:
                    peer.listen_for(0.1)
                else:
                    time.sleep(0.1)

    async with serving(wire, machine, ping_s=1.0, idle_s=1.0, silence_s=0.3) as served:
        talking = asyncio.create_task(asyncio.to_thread(talk, served.port))
        while not talking.done():
            served.hub.sweep()
            assert not machine.ends()
            await asyncio.sleep(0.1)
        await talking


def vanished(peer: Peer) -> None:
    """The connection breaks."""
    peer.vanish()


def silenced(peer: Peer) -> None:
    """Nobody is there any more, and nothing says so."""


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("how", [vanished, silenced])
async def test_what_was_left_ends_with_its_envoy_while_another_one_logs(
    wire: str, how: Callable[[Peer], None]
) -> None:
    machine = Scripted()
    open_peers: list[Peer] = []

    def begin(port: int) -> None:
        for node in ("a", "b"):
            peer = Peer(port)
            log = peer.open(LOGS)
            peer.send(log, logs([], node))
            left(peer)
            open_peers.append(peer)

    def ends() -> list[tuple[StreamId, str]]:
        served.hub.sweep()
        return [(event.stream, event.ending) for event in machine.events if isinstance(event, RequestEnded)]

    def keep_listening(peer: Peer, until_told: list[str]) -> None:
        end = time.monotonic() + 30
        while not until_told and time.monotonic() < end:
            peer.listen_for(0.1)

    async with serving(wire, machine, ping_s=1.0, silence_s=0.3) as served:
        await asyncio.to_thread(begin, served.port)
        await until(lambda: served.hub.left_streams == 2)
        first, second = machine.streams()
        told: list[str] = []
        listening = asyncio.create_task(asyncio.to_thread(keep_listening, open_peers[1], told))
        how(open_peers[0])
        await until(ends)
        assert ends() == [(first, "lost")]
        told.append("over")
        await listening
        await asyncio.to_thread(say, open_peers[1], second)
        await until(lambda: len(ends()) == 2)
        assert ends()[1] == (second, "complete")
        for peer in open_peers:
            peer.__exit__()


def say(peer: Peer, stream: StreamId) -> None:
    """The peer's access log tells an end."""
    log = peer.open(LOGS)
    peer.send(log, logs([stream]))


@pytest.mark.parametrize("wire", WIRES)
async def test_streams_that_fail_do_not_fill_the_log(wire: str, caplog: pytest.LogCaptureFixture) -> None:
    def talk(port: int) -> None:
        with Peer(port) as peer:
            for _ in range(200):
                stream = peer.open(PROCESS, NAMED)
                peer.send(stream, b"\xff\xff")
                peer.end_of(stream)

    async with serving(wire, Scripted()) as served:
        await asyncio.to_thread(talk, served.port)
    assert len(caplog.records) < 100
