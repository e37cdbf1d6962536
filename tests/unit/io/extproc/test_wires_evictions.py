"""Both wires over a real port: a routed request is asked for back, in time, too late, or when it is gone."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb
from msgspec.structs import replace
from tests.peer import Peer
from tests.served import (
    BUFFERED,
    DUPLEX,
    LEAN,
    NAMED,
    POOL,
    PROCESS,
    SSE,
    WIRES,
    Scripted,
    answers_with,
    asks,
    chunk,
    last,
    piece,
    serving,
)

from headgate.model.ids import RequestId
from headgate.picker.actions import Action, Evict, Route
from headgate.picker.events import Event, RequestArrived, RequestEnded, Woken

BODY = b'{"model":"m","messages":[]}'


class Evicting(Scripted):
    """Keeps the streams of routed requests, and asks for all of them back when woken."""

    def _route(self, event: RequestArrived) -> Action:
        action = super()._route(event)
        assert isinstance(action, Route)
        return replace(action, stays=True)

    def handle(self, event: Event, now: float) -> list[Action]:
        """See `hub.Machine`."""
        made = super().handle(event, now)
        if isinstance(event, Woken):
            made += [Evict(stream, RequestId("r"), "others need it", 3) for stream in self.streams()]
        return made

    def endings(self) -> Sequence[str]:
        """How requests ended."""
        return [event.ending for event in self.events if isinstance(event, RequestEnded)]


async def converse(wire: str, machine: Evicting, talk: Callable[[Peer, Callable[[], None]], None]) -> None:
    """*talk* with the port in a thread; its second argument wakes the machine. Nothing is kept afterwards."""
    async with serving(wire, machine) as served:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            async def tell() -> None:
                served.hub.tell(POOL, Woken())

            asyncio.run_coroutine_threadsafe(tell(), loop).result(20)

        def run() -> None:
            with Peer(served.port) as peer:
                talk(peer, wake)

        await asyncio.to_thread(run)
        await served.quiet()
        assert not served.panics()


def opened(peer: Peer, *, lean: bool) -> int:
    """A stream whose request was routed, as the peer knows."""
    stream = peer.open(PROCESS, LEAN if lean else NAMED)
    peer.send(stream, asks((BUFFERED, BUFFERED) if lean else (DUPLEX, DUPLEX)), piece(BODY, end=True))
    peer.take(stream, 2)
    return stream


@pytest.mark.parametrize("lean", [True, False])
@pytest.mark.parametrize("wire", WIRES)
async def test_in_time_it_is_answered_with_429_and_over(wire: str, lean: bool) -> None:
    machine = Evicting()

    def talk(peer: Peer, wake: Callable[[], None]) -> None:
        stream = opened(peer, lean=lean)
        wake()
        [data] = peer.take(stream, 1)
        answer: Any = pb.ProcessingResponse.FromString(data).immediate_response
        assert answer.status.code == 429
        assert answer.details == "headgate_evicted"
        assert b"others need it" in answer.body
        assert peer.end_of(stream) == "0"
        wake()  # nobody is there any more

    await converse(wire, machine, talk)
    assert machine.endings() == ["evicted"]


@pytest.mark.parametrize("wire", WIRES)
async def test_too_late_the_answer_goes_on(wire: str) -> None:
    machine = Evicting()

    def talk(peer: Peer, wake: Callable[[], None]) -> None:
        stream = opened(peer, lean=False)
        peer.send(stream, answers_with(SSE), chunk(b"data: {}\n\n"))
        peer.take(stream, 2)
        wake()
        peer.send(stream, chunk(b"data: [DONE]\n\n"), last())
        peer.take(stream, 2)
        assert peer.end_of(stream) == "0"

    await converse(wire, machine, talk)
    assert machine.endings() == ["complete"]


@pytest.mark.parametrize("wire", WIRES)
async def test_our_own_envoys_stream_is_left_at_the_first_bytes_and_its_log_tells_the_end(wire: str) -> None:
    machine = Evicting()

    def talk(peer: Peer, wake: Callable[[], None]) -> None:
        stream = opened(peer, lean=True)
        peer.send(stream, chunk(b'{"id":1}'))
        peer.take(stream, 1)
        assert peer.end_of(stream) == "0"
        wake()

    async with serving(wire, machine) as served:
        loop = asyncio.get_running_loop()

        def wake() -> None:
            loop.call_soon_threadsafe(served.hub.tell, POOL, Woken())

        def run() -> None:
            with Peer(served.port) as peer:
                talk(peer, wake)

        await asyncio.to_thread(run)
        assert served.hub.left_streams == 1
    assert machine.endings() == []


@pytest.mark.parametrize("wire", WIRES)
async def test_a_client_that_goes_first_is_told_once(wire: str) -> None:
    machine = Evicting()

    def talk(peer: Peer, wake: Callable[[], None]) -> None:
        gone, kept = opened(peer, lean=False), opened(peer, lean=False)
        peer.reset(gone)
        peer.flush()
        wake()
        peer.take(kept, 1)
        assert peer.end_of(kept) == "0"

    await converse(wire, machine, talk)
    assert sorted(machine.ends().values()) == [1, 1]
    assert "evicted" in machine.endings()
