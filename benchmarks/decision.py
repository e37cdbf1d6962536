"""What Python spends on a request behind the native wire: events in, answers out, no sockets.

Rows as the native module hands them over go through the real border, hub, machine, decision log and metrics of a
pool of `--endpoints`. The floor is the same border in front of a machine that answers with the first endpoint and
keeps nothing. Processor time of this thread, the best of `--rounds`; compare only figures of one run.

`--instructions` counts machine instructions under valgrind in place of time, which other work on the machine does
not change: what flow control adds is seen to a part in a thousand.
"""

import argparse
import asyncio
import gc
import os
import random
import re
import subprocess
import sys
import time
from types import ModuleType, SimpleNamespace
from typing import Any, Literal, cast

import headgate_native
import uvloop
from rich.table import Table

from headgate.app.picker.decision_log import DecisionLog
from headgate.app.picker.pools import fixed_pool
from headgate.app.picker.process import RequestObserver
from headgate.flow.settings import FlowSettings
from headgate.io.extproc.hub import Hub
from headgate.io.extproc.native import Limits
from headgate.io.extproc.native_wire import NativeWire
from headgate.io.terminal.console import PlainConsole
from headgate.io.web.counts import Counts
from headgate.model.ids import EndpointId, PoolKey
from headgate.model.load import Load
from headgate.picker.actions import Action, Route
from headgate.picker.choice import Choice
from headgate.picker.events import Event, PoolChanged, RequestArrived, Scraped
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.placement import Placement
from headgate.scheduling.profiles import PROFILES
from headgate.wire.extproc import Settings
from headgate.wire.stream_key import StreamKeys

POOL = PoolKey("default/default")
NONCE = "bench"
BATCH = 8
"""Requests that gathered while Python was busy."""

Row = tuple[Any, ...]
Kind = Literal["floor", "off", "flow"]
"""The floor; a machine without flow control, and with it: nobody ever waits here."""


class _Floor:
    """Answers with the first endpoint."""

    def __init__(self, endpoint: EndpointId) -> None:
        self._only = (endpoint,)

    def handle(self, event: Event, now: float) -> list[Action]:
        if type(event) is RequestArrived:
            request = event.request
            placement = Placement((), None, 0.0, now, 0, {}, (), ())
            choice = Choice(
                request.id, POOL, "floor", request.model, None, 0, None, self._only, 0.0, placement
            )
            return [Route(event.stream, self._only, None, choice)]
        return []


class _Deaf:
    def decided(self, *_: object) -> None:
        """Keeps nothing."""

    def concluded(self, *_: object) -> None:
        """Keeps nothing."""


class _Server:
    """Hands out what it was given; in place of the native transport only."""

    def __init__(self, *_: object, **__: object) -> None:
        self.rows: list[Row] = []
        self.answered = 0

    def take(self) -> list[Row]:
        rows, self.rows = self.rows, []
        return rows

    def answer(self, rows: list[Row]) -> None:
        self.answered += len(rows)


def _prompts(blocks: int, groups: int = 64, variants: int = 512) -> list[bytes]:
    """Chained blocks of prompts that share all but the last of them with others of their group."""
    dice = random.Random(7)
    heads = [[dice.getrandbits(64) for _ in range(max(0, blocks - 1))] for _ in range(groups)]
    return [
        b"".join(one.to_bytes(8, "little") for one in (*heads[n % groups], dice.getrandbits(64))[:blocks])
        for n in range(variants)
    ]


def batches(mode: str, blocks: int, requests: int) -> list[list[Row]]:
    """The rows of *requests* requests in batches: a request of one batch ends in the next."""
    native = headgate_native
    prompts = _prompts(blocks)
    keys, usage = StreamKeys(NONCE, b""), (32 * blocks, 16, 0)
    found: list[list[Row]] = []
    ending: list[Row] = []
    for first in range(1, requests + 1, BATCH):
        rows = ending
        ends: list[Row] = []
        for stream in range(first, first + BATCH):
            prompt = prompts[stream % len(prompts)]
            rows.append(
                (
                    native.ARRIVED,
                    stream,
                    POOL,
                    f"request-{stream}",
                    "chat",
                    "/v1/chat/completions",
                    "bench-model",
                    mode == "stream",
                    prompt,
                    128 * blocks,
                    16,
                    None,
                    None,
                    None,
                    None,
                    None,
                    (),
                    128 * blocks + 60,
                    mode == "unseen",
                )
            )
            if mode == "unseen":
                ends.append((native.OVER, stream, POOL, "lost", None, None, None))
            elif mode == "plain":
                rows.append((native.LEFT, stream, POOL, 1))
                ends.append((native.LOGGED, keys.key(stream), "complete", 200, usage, None, None, 1))
            else:
                ends.append((native.STARTED, stream, POOL, 200, None, False, False))
                ends.append((native.FIRST_TOKEN, stream, POOL))
                ends.append((native.LEFT, stream, POOL, 1))
                ends.append((native.LOGGED, keys.key(stream), "complete", 200, usage, None, None, 1))
        found.append(rows)
        ending = ends
    found.append(ending)
    return found


def wire(endpoints: int, kind: Kind) -> tuple[NativeWire, _Server]:
    """The border in front of a real machine, with or without flow control, or of the floor's."""
    floor = kind == "floor"
    names = [EndpointId(f"10.0.{n // 250}.{n % 250 + 1}:8000") for n in range(endpoints)]
    listener = (
        _Deaf()
        if floor
        else RequestObserver(DecisionLog(float), Counts(lambda pool, name: True, lambda pool, name: True))
    )
    hub = Hub(listener, time.monotonic)
    hub.default = POOL
    if floor:
        hub.add_pool(POOL, _Floor(names[0]))
    else:
        index = headgate_native.PrefixIndex()
        settings = MachineSettings(flow=FlowSettings() if kind == "flow" else None)
        machine = PoolMachine(POOL, PROFILES["default"], settings, random.Random(1), index)
        hub.add_pool(POOL, machine)
        hub.tell(POOL, PoolChanged(fixed_pool(POOL, names)))
        for name in names:
            load = Load(engine="vllm", waiting=0, running=1, kv_used=0.1, progress=1.0)
            hub.tell(POOL, Scraped(name, load))
    kinds = {name: getattr(headgate_native, name) for name in dir(headgate_native) if name.isupper()}
    module = cast("ModuleType", SimpleNamespace(Server=_Server, **kinds))
    made = NativeWire(module, hub, Settings(NONCE), Limits())
    return made, cast("_Server", made._server)


async def seconds(mode: str, blocks: int, endpoints: int, requests: int, kind: Kind) -> float:
    """Processor seconds per request."""
    made, server = wire(endpoints, kind)
    given = batches(mode, blocks, requests)
    gc.collect()
    began = time.thread_time()
    for rows in given:
        server.rows = rows
        made._wake()
    took = time.thread_time() - began
    assert server.answered >= requests
    return took / requests


def run(mode: str, blocks: int, endpoints: int, requests: int, kind: Kind) -> float:
    """The same on a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(seconds(mode, blocks, endpoints, requests, kind))


def instructions(mode: str, blocks: int, endpoints: int, requests: int, kind: Kind) -> float:
    """Machine instructions per request: of a process with twice as many requests, less one with so many.

    Raises OSError where there is no valgrind, and subprocess.CalledProcessError where it fails.
    """
    counts = []
    for count in (requests, 2 * requests):
        alone = ["--modes", mode, "--blocks", str(blocks), "--endpoints", str(endpoints), "--alone", kind]
        program = [sys.executable, "-m", "benchmarks.decision", "--requests", str(count), *alone]
        told = subprocess.run(
            ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null", *program],
            env={**os.environ, "PYTHONHASHSEED": "0"},
            stderr=subprocess.PIPE,
            text=True,
            check=True,
        )
        counts.append(int(_COUNTED.findall(told.stderr)[-1].replace(",", "")))
    return (counts[1] - counts[0]) / requests


_COUNTED = re.compile(r"I\s+refs:\s+([0-9,]+)")
"""What cachegrind says at the end."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", default="8,128")
    parser.add_argument("--modes", default="unseen,plain,stream")
    parser.add_argument("--blocks", default="8,128", help="prompt blocks of a request")
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--instructions", action="store_true", help="count them, in thousands (valgrind)")
    parser.add_argument("--alone", choices=("floor", "off", "flow"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    gc.set_threshold(50_000, 20, 100)
    if asked.alone:
        run(asked.modes, int(asked.blocks), int(asked.endpoints), asked.requests, asked.alone)
        return
    unit = "k" if asked.instructions else "µs"
    title = "Thousands of instructions" if asked.instructions else "Python"
    table = Table(title=f"{title} per request behind the native wire")
    heads = ("endpoints", "mode", "blocks", unit, f"no flow control {unit}", f"floor {unit}", "ratio")
    for head in (*heads, "to floor"):
        table.add_column(head, justify="right")
    for endpoints in map(int, asked.endpoints.split(",")):
        for mode in asked.modes.split(","):
            for blocks in map(int, asked.blocks.split(",")):
                args = mode, blocks, endpoints, asked.requests
                found: dict[Kind, list[float]] = {"floor": [], "off": [], "flow": []}
                for _ in range(1 if asked.instructions else asked.rounds):
                    for kind, times in found.items():
                        times.append(
                            instructions(*args, kind) / 1e3 if asked.instructions else 1e6 * run(*args, kind)
                        )
                floor, off, flow = (min(found[kind]) for kind in ("floor", "off", "flow"))
                figures = (
                    f"{flow:.1f}",
                    f"{off:.1f}",
                    f"{floor:.1f}",
                    f"{flow / off:.3f}",
                    f"{flow / floor:.2f}",
                )
                table.add_row(str(endpoints), mode, str(blocks), *figures)
    PlainConsole().print(table)


if __name__ == "__main__":
    main()
