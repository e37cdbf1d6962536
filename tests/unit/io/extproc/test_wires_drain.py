"""Both wires when they are to end: open streams go on, new ones are refused."""

import asyncio
import threading
import time
from typing import Any

import grpc
import grpc.aio
import pytest
from tests.peer import Peer
from tests.served import LOGS, NAMED, POOL, PROCESS, WIRES, Scripted, Served, asks, logs, serving, until

from headgate.picker.events import Woken

CHECK = "/grpc.health.v1.Health/Check"
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"


async def health(port: int) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as opened:
        channel: Any = opened
        return await channel.unary_unary(CHECK)(b"")


def held(peer: Peer) -> int:
    """A stream whose request waits for an answer."""
    stream = peer.open(PROCESS, NAMED)
    peer.send(stream, asks(headers={":method": "GET", ":path": "/x"}, end=True))
    return stream


@pytest.mark.parametrize("wire", WIRES)
async def test_an_open_stream_is_served_to_its_end(wire: str) -> None:
    machine = Scripted()
    machine.hold = True
    drained, woken = threading.Event(), threading.Event()
    late: list[str] = []

    def talk(served: Served) -> None:
        with Peer(served.port) as peer:
            log = peer.open(LOGS)
            peer.send(log, logs([], "envoy"))
            stream = held(peer)
            drained.wait(20)
            patience = time.monotonic() + 20
            while not peer.leaving and time.monotonic() < patience:
                peer.listen_for(0.1)
            assert peer.leaving
            try:
                Peer(served.port)
            except (OSError, AssertionError) as error:
                late.append(type(error).__name__)
            woken.set()
            peer.take(stream, 1)
            peer.finish(stream)
            assert peer.end_of(stream) == "0"

    async with serving(wire, machine, health_port=0) as served:
        talking = asyncio.create_task(asyncio.to_thread(talk, served))
        await until(machine.arrived)
        assert await health(served.ports.health_port) == SERVING
        await served.health.set_ready(False)
        served.ports.drain()
        drained.set()
        await asyncio.to_thread(woken.wait, 20)
        assert await health(served.ports.health_port) == NOT_SERVING
        machine.hold = False
        served.hub.tell(POOL, Woken())
        await talking
        await until(lambda: not served.hub.open_streams)
    assert late
    assert machine.ends() == dict.fromkeys(machine.streams(), 1)


@pytest.mark.parametrize("wire", WIRES)
async def test_what_is_still_open_at_the_end_is_cut(wire: str) -> None:
    machine = Scripted()
    machine.hold = True
    told: list[str] = []

    def talk(port: int) -> None:
        with Peer(port) as peer:
            stream = held(peer)
            while stream not in peer.ended and peer.lost is None:
                peer.listen_for(0.3)
            told.append(peer.ended.get(stream) or str(peer.lost))

    async with serving(wire, machine) as served:
        talking = asyncio.create_task(asyncio.to_thread(talk, served.port))
        await until(machine.arrived)
        served.ports.drain()
        await served.ports.stop(0.0)
        await talking
    assert told
