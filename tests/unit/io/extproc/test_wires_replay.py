"""What a pool's machine was told over one wire, it is told over the other, and it replays."""

import asyncio
import random
from typing import Any

import grpc.aio
import pytest
from tests.served import (
    BUFFERED,
    DUPLEX,
    LEAN,
    LOGS,
    NAMED,
    POOL,
    POST,
    PROCESS,
    SSE,
    WIRES,
    answers_with,
    asks,
    chunk,
    logs,
    native,
    piece,
    serving,
    until,
)

from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import EndpointId, StreamId
from headgate.picker.actions import Action, Route
from headgate.picker.events import Event, PoolChanged, RequestEnded, Woken
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.prefix import PrefixIndex
from headgate.scheduling.profiles import PROFILES

SEED = 7
SETTINGS = MachineSettings(story=100_000)
PLAIN = {":status": "200", "content-type": "application/json"}
USAGE = b'data: {"usage":{"prompt_tokens":90,"completion_tokens":7}}\n\n'


def a_machine(index: Any) -> PoolMachine:
    return PoolMachine(POOL, PROFILES["default"], SETTINGS, random.Random(SEED), index)


class Recorded:
    """A machine, and every action that it asked for, by event."""

    def __init__(self, machine: PoolMachine) -> None:
        self.machine = machine
        self.actions: list[list[Any]] = []

    def handle(self, event: Event, now: float) -> list[Action]:
        """See `hub.Machine`."""
        actions = self.machine.handle(event, now)
        self.actions.append(shown(actions))
        return actions


def shown(actions: list[Action]) -> list[Any]:
    """Actions as everyone else sees them: a decision as it is written."""
    return [
        (action.stream, action.endpoints, action.target_model, action.decision.written())
        if isinstance(action, Route)
        else action
        for action in actions
    ]


def scripts() -> list[tuple[Any, list[bytes], int]]:
    """Calls one after the other: metadata, messages, and how many of them are sent before it breaks off."""
    dice = random.Random(SEED)
    found = []
    for number in range(120):
        lean = dice.random() < 0.5
        head = f"system {dice.randrange(5)} " * 40
        stream = dice.choice(["true", "false", "true"])
        limit = dice.choice(["5", "2e1", "9007199254740993"])
        name = dice.choice(["m", "m", "m\\u00e9", "\\ud83d"])
        body = f'{{"model":"{name}","messages":[{{"role":"user","content":"{head}{number}"}}],"stream":{stream},"max_tokens":{limit}}}'.encode()
        headers = {**POST, "x-request-id": f"r{number}", "x-session-id": f"s{number % 9}"}
        modes = (BUFFERED, BUFFERED) if lean else (DUPLEX, DUPLEX)
        messages = [
            asks(modes, headers),
            piece(body, end=True),
            answers_with(dice.choice([SSE, SSE, PLAIN, {":status": "503"}])),
            chunk(b"data: {}\n\n"),
            chunk(USAGE, end=True),
        ]
        found.append((LEAN if lean else NAMED, messages, dice.choice([2, 3, 4, 5, 5, 5])))
    return found


async def converse(channel: Any, metadata: Any, messages: list[bytes], count: int) -> None:
    """Each message answered before the next; then the call is given up, unless the picker ended it."""
    call = channel.stream_stream(PROCESS)(metadata=metadata)
    for number, message in enumerate(messages[:count]):
        if call.done():
            return
        try:
            await call.write(message)
        except grpc.aio.AioRpcError:
            return  # left meanwhile
        if metadata == NAMED and number < 2:
            if number:
                assert [isinstance(await call.read(), bytes) for _ in "ab"] == [True, True]
        elif not isinstance(await call.read(), bytes):
            return
    call.cancel()


async def record(wire: str) -> Recorded:
    """The whole story over one wire, requests one after the other."""
    told = Recorded(
        a_machine(PrefixIndex() if native is None or wire == "portable" else native.PrefixIndex())
    )
    endpoints = tuple(
        Endpoint(EndpointId(f"10.0.0.{n}:80"), f"10.0.0.{n}", 80, f"pod-{n}") for n in range(1, 5)
    )
    async with serving(wire, told) as served:
        served.hub.tell(POOL, PoolChanged(Pool(POOL, endpoints)))
        async with grpc.aio.insecure_channel(f"127.0.0.1:{served.port}") as opened:
            channel: Any = opened
            for stream, (metadata, messages, count) in enumerate(scripts(), 1):
                await converse(channel, metadata, messages, count)
                if metadata == LEAN:
                    await until(lambda: served.hub.open_streams == 0)
                    call = channel.stream_unary(LOGS)()
                    await call.write(logs([StreamId(stream)]))
                    await call.done_writing()
                    await call
                await until(lambda: told.machine.view(0.0).in_flight == 0 and not served.kept(), served.kept)
    return told


@pytest.mark.parametrize("wire", WIRES)
async def test_a_story_replays_to_the_same_actions(wire: str) -> None:
    told = await record(wire)
    story = told.machine.story
    assert sum(isinstance(event, RequestEnded) for _, event in story) == 120
    fresh = a_machine(PrefixIndex())
    assert [shown(fresh.handle(event, now)) for now, event in story] == told.actions


async def test_both_wires_tell_the_same_story() -> None:
    if native is None:
        pytest.skip("there is one wire")
    one, other = await asyncio.gather(*(record(wire) for wire in WIRES))
    stories = [
        [event for _, event in each.machine.story if not isinstance(event, Woken)] for each in (one, other)
    ]
    assert len(stories[0]) > 300
    assert stories[0] == stories[1]
