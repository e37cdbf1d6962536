"""Microseconds per request of the picker's machine: arrival, first token and end, decision record included.

    python benchmarks/machine.py [--requests 2000]

Every request shares half of its prompt with one of 20 others; about 4 requests per endpoint are in flight.
"""

import argparse
import random
import statistics
import time
from collections import deque

from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import PoolKey, RequestId, StreamId, endpoint_id
from headgate.model.load import Load
from headgate.model.requests import BLOCK_BYTES, InferenceRequest, Usage
from headgate.picker.actions import Route
from headgate.picker.events import FirstToken, PoolChanged, RequestArrived, RequestEnded, Scraped
from headgate.picker.machine import PoolMachine
from headgate.picker.settings import MachineSettings
from headgate.scheduling.profiles import PROFILES

ENDPOINTS = (3, 8, 64, 128)
PROMPTS = (1024, 16 * 1024)
STEP_S = 0.001


def pool(size: int) -> Pool:
    """A pool of *size* endpoints."""
    addresses = [f"10.0.{n // 250}.{n % 250 + 1}" for n in range(size)]
    endpoints = [Endpoint(endpoint_id(ip, 8000), ip, 8000, f"pod-{ip}") for ip in addresses]
    return Pool(PoolKey("default/bench"), tuple(sorted(endpoints, key=lambda one: one.id)))


def requests(count: int, prompt_bytes: int, rng: random.Random) -> list[InferenceRequest]:
    """Prompts whose first half is one of 20 shared ones."""
    half = prompt_bytes // BLOCK_BYTES // 2
    shared = [rng.randbytes(8 * half) for _ in range(20)]
    return [
        InferenceRequest(
            id=RequestId(str(n)),
            api="chat",
            model="m",
            streaming=True,
            blocks=rng.choice(shared) + rng.randbytes(8 * half),
            prompt_bytes=prompt_bytes,
            max_tokens=200,
        )
        for n in range(count)
    ]


def measure(policy: str, size: int, prompt_bytes: int, count: int) -> tuple[float, float]:
    """Median and 99th percentile of microseconds spent in `handle` per request."""
    rng = random.Random(1)
    members = pool(size)
    machine = PoolMachine(members.key, PROFILES[policy], MachineSettings(), rng)
    machine.handle(PoolChanged(members), 0.0)
    for member in members.endpoints:
        machine.handle(Scraped(member.id, Load("vllm", 0, 2, kv_used=0.4, progress=1.0)), 0.0)
    asked = requests(count, prompt_bytes, rng)
    running: deque[StreamId] = deque()
    spent: list[float] = []
    usage = Usage(prompt_bytes // 4, 100, 10)
    for number, request in enumerate(asked):
        now = number * STEP_S
        stream = StreamId(number)
        arrived, first = RequestArrived(stream, request), FirstToken(stream)
        running.append(stream)
        ended = RequestEnded(running.popleft(), "complete", 200, usage) if len(running) > 4 * size else None
        start = time.perf_counter()
        actions = machine.handle(arrived, now)
        machine.handle(first, now + STEP_S / 2)
        if ended is not None:
            machine.handle(ended, now + STEP_S / 2)
        spent.append(time.perf_counter() - start)
        assert isinstance(actions[0], Route)
    spent = spent[count // 4 :]
    return statistics.median(spent) * 1e6, statistics.quantiles(spent, n=100)[98] * 1e6


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=2000, help="requests per cell")
    count = parser.parse_args().requests
    print(f"{'policy':>15} {'endpoints':>9} {'prompt':>7} {'median µs':>10} {'p99 µs':>8}")
    for policy in ("default", "least-requests", "random", "round-robin"):
        for size in ENDPOINTS:
            for prompt_bytes in PROMPTS:
                median, p99 = measure(policy, size, prompt_bytes, count)
                print(
                    f"{policy:>15} {size:>9} {prompt_bytes // 1024:>4} KB {median:>10.0f} {p99:>8.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
