"""Runs one engine model against the wall clock and tells the answers under way how far they are.

There is no task here: one timer is armed for the engine's next event. Virtual time may run so fast that
every step would cost a wake-up, so wake-ups keep a small distance, and streams are told of new tokens in
batches that grow with their number. At real-time speed and moderate load each token is its own frame.
"""

import asyncio
import time
from collections.abc import Callable
from typing import assert_never

from headgate.io.fleet.api import Call, Choice
from headgate.io.fleet.clock import FleetClock
from headgate.io.fleet.metrics import Instruments
from headgate.sim.engine import EngineModel, EngineRequest, Finished, FirstToken, Preempted
from headgate.sim.tokens import TOKEN_BYTES, block_chain, chain_root, count

QUANTUM_S = 0.002
"""Shortest wall time between two wake-ups of one engine."""

FRAMES_PER_S = 4_000
"""About how many frames one replica's streams are given together."""


class RunningChoice:
    """One choice of an answer, in the engine."""

    def __init__(self, choice: Choice, answer: "Answer") -> None:
        self.choice = choice
        self.answer = answer
        self.cached_tokens = 0
        self.first_at: float | None = None
        self.done = False


class Answer:
    """An answer under way. `changed` is set when there may be more of it."""

    def __init__(self, call: Call, started: float) -> None:
        self.call = call
        self.started = started
        self.changed = asyncio.Event()
        self.choices = [RunningChoice(choice, self) for choice in call.choices]
        self.ids: list[int] = []

    @property
    def done(self) -> bool:
        """Whether every choice is complete."""
        return all(choice.done for choice in self.choices)

    @property
    def generated_tokens(self) -> int:
        """Of a complete answer."""
        return sum(choice.choice.tokens for choice in self.choices)

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that were found in the prefix cache; each prompt counts once, by its first choice."""
        return sum(choice.cached_tokens for choice in self.choices[:: self.call.answers_per_prompt])


class EngineDriver:
    """An engine and its timer."""

    def __init__(
        self,
        make_engine: Callable[[], EngineModel],
        clock: FleetClock,
        base_model: str,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.clock = clock
        self._make_engine = make_engine
        self._model = base_model
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._next_id = 0
        self._start()

    def _start(self) -> None:
        self.engine = self._make_engine()
        self.instruments = Instruments(time.time())  # noqa: TID251  # what the process says of itself
        self._running: dict[int, RunningChoice] = {}
        self._flushed = self._ticked = time.monotonic()

    def restart(self) -> None:
        """A new engine, cold and with fresh counters; answers under way never end."""
        self._start()
        self._arm()

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def set_rate(self, rate: float) -> None:
        """Virtual seconds per wall second from now on; 0 stands still."""
        self._catch_up()
        self.clock.set_rate(rate, time.monotonic())
        self._arm()

    def submit(self, call: Call) -> Answer:
        """Give the choices of *call* to the engine. Raises ValueError when the engine cannot ever run one."""
        self._catch_up()
        answer = Answer(call, time.monotonic())
        now = self.clock.now(answer.started)
        adapter = call.model if call.model != self._model else None
        root = chain_root(self._model, adapter)
        for running in answer.choices:
            choice = running.choice
            self._next_id += 1
            tokens = choice.prompt + choice.text[: TOKEN_BYTES * choice.tokens].encode()
            request = EngineRequest(
                id=self._next_id,
                prompt_tokens=count(choice.prompt),
                output_tokens=choice.tokens,
                blocks=block_chain(tokens, root, self.engine.preset.block_tokens),
                adapter=adapter,
            )
            self.engine.submit(request, now)
            self._running[request.id] = running
            answer.ids.append(request.id)
        self._arm()
        return answer

    def cancel(self, answer: Answer) -> None:
        """Take what is left of an answer out of the engine; nothing happens when it is complete."""
        left = [request for request in answer.ids if request in self._running]
        if not left:
            return
        self._catch_up()
        for request in left:
            if self._running.pop(request, None) is not None:
                self.engine.cancel(request)
                self.instruments.finished["abort"] += 1
        self._arm()

    def generated(self, answer: Answer, index: int) -> int:
        """Tokens that choice *index* of *answer* has so far."""
        running = answer.choices[index]
        if running.done:
            return running.choice.tokens
        request = answer.ids[index]
        return self.engine.generated(request) if request in self._running else 0

    # --- the timer

    def _arm(self) -> None:
        """Set the timer for the engine's next event."""
        self.close()
        virtual = self.engine.next_event_at()
        wall = None if virtual is None else self.clock.wall_at(virtual)
        if wall is not None:
            # Half a millisecond: loops with millisecond timers must not wake before the event.
            delay = max(wall, self._ticked + QUANTUM_S) - time.monotonic() + 0.0005
            self._timer = self._loop.call_later(max(0.0, delay), self._tick)

    def _tick(self) -> None:
        self._timer = None
        self._catch_up()
        self._arm()

    def _catch_up(self) -> None:
        """Let the engine do what is due, and tell the answers."""
        wall = time.monotonic()
        self._ticked = wall
        for event in self.engine.advance(self.clock.now(wall)):
            match event:
                case FirstToken(_, request, cached_tokens):
                    self._first_token(self._running[request], cached_tokens, wall)
                case Finished(_, request):
                    self._finish(self._running.pop(request), wall)
                case Preempted():
                    pass
                case _:
                    assert_never(event)
        if wall - self._flushed >= len(self._running) / FRAMES_PER_S:
            self._flushed = wall
            for running in self._running.values():
                if running.first_at is not None and running.answer.call.stream:
                    running.answer.changed.set()

    def _first_token(self, running: RunningChoice, cached_tokens: int, wall: float) -> None:
        running.first_at = wall
        running.cached_tokens = cached_tokens
        self.instruments.ttft.observe(wall - running.answer.started)
        running.answer.changed.set()

    def _finish(self, running: RunningChoice, wall: float) -> None:
        running.done = True
        running.answer.changed.set()
        instruments, tokens = self.instruments, running.choice.tokens
        instruments.finished[running.choice.finish_reason] += 1
        instruments.latency.observe(wall - running.answer.started)
        if tokens > 1 and running.first_at is not None:
            instruments.tpot.observe((wall - running.first_at) / (tokens - 1), tokens - 1)
