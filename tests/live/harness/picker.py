"""`headgate picker` as a child process: our endpoint picker alone, as behind another vendor's gateway."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from tests.live.harness.processes import HEADGATE, Child, accepts, eventually, free_port


class Picker:
    """A running picker process."""

    def __init__(self, child: Child, ports: dict[str, int]) -> None:
        self.child = child
        self.grpc, self.health, self.metrics, self.admin = (
            ports[name] for name in ("grpc", "health", "metrics", "admin")
        )

    async def get(self, path: str, port: int | None = None) -> tuple[int, str]:
        """Status and text from the admin API, or from another of its ports."""
        url = f"http://127.0.0.1:{port or self.admin}{path}"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status, await answer.text()

    async def status(self) -> dict[str, Any]:
        """Its part of `headgate status`."""
        found: dict[str, Any] = json.loads((await self.get("/v1/status"))[1])
        return found

    async def in_flight(self) -> int:
        """Requests it believes to be running."""
        return sum(pool["in_flight"] for pool in (await self.status())["pools"])

    async def idle(self) -> None:
        """Wait until no request is in flight: the access log comes a moment after the answer."""
        async with asyncio.timeout(5):
            while await self.in_flight():
                await asyncio.sleep(0.02)

    async def concluded(self) -> dict[str, Any]:
        """The last decision, once its outcome is known."""
        for _ in range(100):
            record: dict[str, Any] = json.loads((await self.get("/v1/decisions/last"))[1])
            if record["outcome"] is not None:
                return record
            await asyncio.sleep(0.02)
        raise AssertionError(f"no outcome: {record}")

    async def until_ready(self) -> None:
        """Wait until it would be given traffic and knows an endpoint."""
        for _ in range(200):
            if (await self.get("/readyz"))[0] == 200 and (await self.status())["pools"][0]["endpoints"]:
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"never ready: {self.child}")


@contextlib.asynccontextmanager
async def picker(*args: str) -> AsyncIterator[Picker]:
    """`headgate picker ARGS` on free ports, up and listening, not yet ready."""
    ports = {name: free_port() for name in ("grpc", "health", "metrics", "admin")}
    flags = {"grpc": "--grpc-port", "health": "--grpc-health-port"}
    numbers = [
        part for name, port in ports.items() for part in (flags.get(name, f"--{name}-port"), str(port))
    ]
    child = Child([*HEADGATE, "picker", "--host", "127.0.0.1", *numbers, *args])
    try:
        await asyncio.to_thread(eventually, lambda: accepts(ports["grpc"]) and accepts(ports["admin"]), 20)
        yield Picker(child, ports)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{child}") from error
    finally:
        await asyncio.to_thread(child.stop)
