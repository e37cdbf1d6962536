"""Carries out a plan: arrivals keep their times however slow the answers are."""

import asyncio
from collections.abc import Callable
from time import monotonic

import aiohttp
import msgspec

from headgate.io.load.report import Report, Sample, make_report
from headgate.io.load.stream import Exchange, Message
from headgate.io.load.workloads import Conversation, Plan

FILLERS_AT_ONCE = 16


class LoadSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Where a load goes, and its limits."""

    url: str
    """Base URL of the gateway or of a server, without `/v1`."""
    model: str
    max_open: int = 512
    """Most requests open at a time; arrivals beyond are counted as not sent."""
    timeout_s: float = 60.0
    """Longest time for one request."""
    drain_s: float = 15.0
    """After the last arrival, requests have so long to end; then they count as failed (`unfinished`)."""


def _ignore(sample: Sample) -> None:
    """Nobody listens."""


class Load:
    """One run of a plan. `report()` may be asked for while it runs; `run` ends by itself."""

    def __init__(
        self, plan: Plan, settings: LoadSettings, on_sample: Callable[[Sample], None] = _ignore
    ) -> None:
        self.samples: list[Sample] = []
        self.not_sent = 0
        self._plan = plan
        self._settings = settings
        self._on_sample = on_sample
        self._open: set[Exchange] = set()
        self._began: float | None = None
        self._ended: float | None = None

    @property
    def open(self) -> int:
        """Requests under way."""
        return len(self._open)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start, or of the whole run."""
        if self._began is None:
            return 0.0
        return (self._ended or monotonic()) - self._began

    def report(self) -> Report:
        """What has ended so far, summed up."""
        return make_report(
            self.samples, elapsed_s=self.elapsed_s, speed=self._plan.speed, not_sent=self.not_sent
        )

    async def run(self) -> Report:
        """Send everything and wait for the answers, at most the plan's duration and `drain_s`."""
        timeout = aiohttp.ClientTimeout(total=self._settings.timeout_s)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, auto_decompress=False
        ) as session:
            await self._fill(session)
            self._began = monotonic()
            try:
                async with (
                    asyncio.timeout(self._plan.duration_s + self._settings.drain_s),
                    asyncio.TaskGroup() as group,
                ):
                    for conversation in self._plan.conversations:
                        await asyncio.sleep(self._began + conversation.at_s - monotonic())
                        group.create_task(self._converse(session, conversation))
            except TimeoutError:
                pass  # what was open has noted itself as unfinished
            self._ended = monotonic()
        return self.report()

    async def _fill(self, session: aiohttp.ClientSession) -> None:
        """Ask the plan's fillers, a few at a time; what comes of them does not count."""
        turns = asyncio.Semaphore(FILLERS_AT_ONCE)

        async def ask(filler: str) -> None:
            async with turns:
                question = [{"role": "user", "content": filler}]
                await Exchange(0.0).run(session, self._settings.url, self._settings.model, question, 1)

        async with asyncio.TaskGroup() as group:
            for filler in self._plan.fillers:
                group.create_task(ask(filler))

    async def _converse(self, session: aiohttp.ClientSession, conversation: Conversation) -> None:
        messages: list[Message] = []
        if conversation.system:
            messages.append({"role": "system", "content": conversation.system})
        for turn in conversation.turns:
            if turn.think_s and self.elapsed_s + turn.think_s > self._plan.duration_s:
                return
            await asyncio.sleep(turn.think_s)
            messages.append({"role": "user", "content": turn.question})
            answer = await self._ask(session, messages, turn.max_tokens)
            if answer is None:
                return
            messages.append({"role": "assistant", "content": answer})

    async def _ask(
        self, session: aiohttp.ClientSession, messages: list[Message], max_tokens: int
    ) -> str | None:
        """The answer; None when it failed or was not sent."""
        if len(self._open) >= self._settings.max_open:
            self.not_sent += 1
            return None
        exchange = Exchange(self.elapsed_s)
        self._open.add(exchange)
        try:
            await exchange.run(session, self._settings.url, self._settings.model, messages, max_tokens)
        finally:
            self._open.discard(exchange)
            self._note(exchange.sample())
        return exchange.text if exchange.error is None else None

    def _note(self, sample: Sample) -> None:
        self.samples.append(sample)
        self._on_sample(sample)
