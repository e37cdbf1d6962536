"""Memory and speed of the prefix index, the native one beside Python's.

Prompts of 64 blocks of random hashes are added to each endpoint in turn until the index holds *--blocks* blocks;
memory is what the process's resident set grew by.
"""

import argparse
import random
import resource
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headgate_native
from rich.table import Table

from headgate.io.terminal.console import PlainConsole
from headgate.scheduling.prefix import PrefixIndex

PROMPT = 64
PAGE = resource.getpagesize()


def resident() -> int:
    """Bytes of this process's resident set."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def _moved(prompt: list[int], by: int) -> bytes:
    return struct.pack(f"<{PROMPT}Q", *((block + by) & 0xFFFF_FFFF_FFFF_FFFF for block in prompt))


def measure(make: Callable[[], Any], blocks: int, slots: int) -> tuple[float, ...]:
    """Growth in MiB, its peak included; microseconds to add and to match one prompt; bytes a block."""
    dice = random.Random(3)
    before = resident()
    index = make()
    for slot in range(slots):
        index.open(slot, blocks // slots)
    prompts = [[dice.getrandbits(64) for _ in range(PROMPT)] for _ in range(1000)]
    spent = 0.0
    for number in range(blocks // PROMPT):
        # As many different blocks as asked for, made cheaply.
        prompt = _moved(prompts[number % 1000], number)
        started = time.perf_counter()
        index.add(number % slots, prompt)
        spent += time.perf_counter() - started
    grown = resident() - before
    held = sum(index.blocks(slot) for slot in range(slots))
    asked = _moved(prompts[0], 999_000)
    index.add(0, asked)
    started = time.perf_counter()
    for _ in range(2000):
        index.match(asked)
    matched = (time.perf_counter() - started) / 2000
    return held, grown / 2**20, spent / (blocks // PROMPT) * 1e6, matched * 1e6, grown / held


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--blocks", type=int, default=10_000_000)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--index", choices=["native", "python"], default="native")
    asked = parser.parse_args()
    make = headgate_native.PrefixIndex if asked.index == "native" else PrefixIndex
    held, grown, add, match, each = measure(make, asked.blocks, asked.slots)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out = Table(title=f"prefix index ({asked.index}), {asked.slots} endpoints")
    for head in (
        "blocks held",
        "grown MiB",
        "bytes/block",
        "process peak MiB",
        "add µs / 64 blocks",
        "match µs / 64 blocks",
    ):
        out.add_column(head, justify="right")
    out.add_row(f"{held:,.0f}", f"{grown:,.0f}", f"{each:.1f}", f"{peak:,.0f}", f"{add:.1f}", f"{match:.1f}")
    PlainConsole(width=110).print(out)


if __name__ == "__main__":
    main()
