"""Memory of the picker with a full prefix index: eight servers with large KV caches, prompts that share nothing.

Through `headgate run` and the real Envoy, with the default policy; resident memory as the operating system tells it.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import aiohttp
import psutil
from rich.table import Table
from tests.live.harness.gateway import Gateway, gateway

from benchmarks.model_servers import MODEL, model_servers
from benchmarks.picker_cost import manifests
from headgate.io.terminal.console import PlainConsole

PROMPT_BYTES = 128 * 1024
"""A thousand blocks."""
AT_ONCE = 8


def _look(gate: Gateway) -> tuple[int, int, float]:
    """Requests decided, blocks remembered, MiB."""
    pool = gate.pools()[0]
    blocks = sum(int(each["prefix_blocks"]) for each in pool["endpoints"])
    pid = gate.pid("picker")
    assert pid is not None
    return int(pool["decided"]), blocks, psutil.Process(pid).memory_info().rss / 2**20


async def _ask(gate: Gateway, first: int, count: int) -> None:
    numbers = iter(range(first, first + count))

    async def client(http: aiohttp.ClientSession) -> None:
        for number in numbers:
            text = f"{number:09d} " * (PROMPT_BYTES // 10)
            body = {"model": MODEL, "prompt": text, "max_tokens": 16}
            async with http.post(gate.url + "/v1/completions", json=body) as answer:
                await answer.read()
                if answer.status != 200:
                    raise SystemExit(
                        f"a request was answered {answer.status}: nothing is measured by a broken run"
                    )

    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(client(http))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--endpoints", type=int, default=8)
    parser.add_argument(
        "--blocks", type=int, default=1_000_000, help="blocks to remember, of all endpoints together"
    )
    asked = parser.parse_args()
    table = Table(title=f"{asked.endpoints} endpoints: memory of the picker")
    for head in ("requests", "blocks remembered", "resident MiB"):
        table.add_column(head, justify="right")
    kv_blocks = (
        3 * asked.blocks // asked.endpoints
    )  # half as many of our blocks; prompts do not spread evenly
    with tempfile.TemporaryDirectory() as folder, model_servers(asked.endpoints, kv_blocks=kv_blocks) as urls:
        path = Path(folder) / "bench.yaml"
        path.write_text(manifests(urls))
        with gateway("-f", str(path)) as gate:
            sent, found = 0, _look(gate)
            table.add_row(str(found[0]), f"{found[1]:,}", f"{found[2]:.0f}")
            while found[1] < asked.blocks and sent < 2 * asked.blocks // 1000:
                asyncio.run(_ask(gate, sent, 256))
                sent, found = sent + 256, _look(gate)
                table.add_row(str(found[0]), f"{found[1]:,}", f"{found[2]:.0f}")
    PlainConsole(width=100).print(table)


if __name__ == "__main__":
    main()
