"""What the messages of an endpoint change cost alone: two responses and two acknowledgements over a bare stream.

    python -m benchmarks.controlplane.floor [--changes 500] [--a-second 50] [--bytes 1200]

A grpc.aio server on a Unix socket with nothing behind it, and a client in a process of its own that answers each
message with a short one, as Envoy does. Printed: the server's processor time for a change, all its threads.
"""

import argparse
import asyncio
import multiprocessing
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import uvloop

METHOD = "/benchmark.Floor/Stream"
ACKNOWLEDGEMENT = b"a" * 80
MESSAGES = 2
"""Of a change: the endpoints with the one that leaves, and without it two seconds later."""


async def measure(address: str, changes: int, a_second: float, size: int) -> float:
    """Milliseconds of processor for each change."""
    found: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    payload = b"x" * size

    async def stream(_: AsyncIterator[bytes], context: Any) -> None:
        await context.read()
        began, used = time.monotonic(), time.process_time()
        for number in range(1, changes * MESSAGES + 1):
            await context.write(payload)
            await context.read()
            await asyncio.sleep(max(0.0, began + number / (a_second * MESSAGES) - time.monotonic()))
        found.set_result((time.process_time() - used) * 1000 / changes)

    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(stream)
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("benchmark.Floor", {"Stream": handler}),)
    )
    server.add_insecure_port(address)
    await server.start()
    client = multiprocessing.get_context("spawn").Process(target=_client, args=(address,), daemon=True)
    client.start()
    try:
        return await asyncio.wait_for(found, changes / a_second * 3 + 30)
    finally:
        await server.stop(None)
        client.join(10)


def _client(address: str) -> None:
    asyncio.run(_acknowledge(address))


async def _acknowledge(address: str) -> None:
    due: asyncio.Queue[bytes] = asyncio.Queue()

    async def acknowledgements() -> AsyncIterator[bytes]:
        while True:
            yield await due.get()

    due.put_nowait(ACKNOWLEDGEMENT)
    async with grpc.aio.insecure_channel(address) as channel:
        async for _ in channel.stream_stream(METHOD, None, None)(acknowledgements()):
            due.put_nowait(ACKNOWLEDGEMENT)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--changes", type=int, default=500)
    parser.add_argument("--a-second", type=float, default=50)
    parser.add_argument("--bytes", type=int, default=1200, help="of a message: ten endpoints")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        address = f"unix:{Path(folder) / 'floor.sock'}"
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            cost = runner.run(measure(address, asked.changes, asked.a_second, asked.bytes))
    print(f"{cost:.2f} ms of processor for {MESSAGES} messages and their acknowledgements")


if __name__ == "__main__":
    main()
