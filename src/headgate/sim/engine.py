"""A model server under virtual time: continuous batching over a paged KV cache with prefix reuse.

What it does in one step, as vLLM V1 does: one token for every decoding sequence, and with the rest of the
token budget chunks of prefill, first for admitted sequences, then for new ones in order of arrival.
Admission stops at the first sequence whose prompt does not fit (head-of-line blocking); a sequence whose LoRA
adapter finds no slot is passed over. When a decoding sequence needs a block and none is left, the newest
sequence goes back to the head of the queue and is computed again later.

The work per step does not grow with the batch: sequences are booked under the number of the step at which
they next need a block or finish, so a fleet with hundreds of running sequences is cheap to simulate.
"""

import heapq
from collections import deque
from typing import Literal

import msgspec

from headgate.model.randomness import Rng
from headgate.sim.adapters import AdapterSlots
from headgate.sim.blocks import BlockCache
from headgate.sim.presets import Preset


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to compute. Several answers to one prompt are several of these."""

    id: int
    """Unique among the requests the engine holds."""
    prompt_tokens: int
    output_tokens: int
    """Tokens it generates, known beforehand; at least 1."""
    blocks: tuple[int, ...] = ()
    """Chained hashes of the whole blocks of prompt and answer together; may be empty: nothing is reused."""
    adapter: str | None = None


class FirstToken(msgspec.Struct, frozen=True, tag=True):
    """A request's prefill ended and its first token is out. Told once, even after a preemption."""

    at: float
    id: int
    cached_tokens: int
    """Prompt tokens found in the prefix cache."""


class Finished(msgspec.Struct, frozen=True, tag=True):
    """A request's last token is out; the engine has forgotten it."""

    at: float
    id: int


class Preempted(msgspec.Struct, frozen=True, tag=True):
    """A request lost its blocks and waits again; its tokens so far stand."""

    at: float
    id: int


EngineEvent = FirstToken | Finished | Preempted


class Totals(msgspec.Struct):
    """Counters since the engine started."""

    steps: int = 0
    prompt_tokens: int = 0
    """Of requests whose prefill ended, cached tokens included."""
    generated_tokens: int = 0
    prefix_queries: int = 0
    """Prompt tokens looked up in the prefix cache."""
    prefix_hits: int = 0
    """Of those, found."""
    preemptions: int = 0


class _Sequence:
    """A request on its way through the engine."""

    __slots__ = (
        "adapter", "cached", "computed", "epoch", "joined", "phase", "private", "produced", "request",
        "shared", "target",
    )  # fmt: skip

    def __init__(self, request: EngineRequest) -> None:
        self.request = request
        self.adapter = request.adapter
        self.phase: Literal["arriving", "waiting", "prefill", "decode", "gone"] = "arriving"
        self.epoch = 0  # grows whenever it leaves the batch: bookings of an older epoch are void
        self.produced = 0  # tokens generated before the current stay in the batch
        self.joined = 0  # number of the step that ended its prefill
        self.computed = 0  # tokens whose KV is there, while in prefill
        self.target = 0  # tokens to compute in prefill
        self.cached: int | None = None  # prefix hit of the first admission
        self.shared: list[int] = []
        self.private = 0


class EngineModel:
    """One engine. Times are virtual seconds that only grow; it never looks at a clock.

    Drive it with `submit` and `cancel` when they happen, and with `advance(now)` at `next_event_at()` if
    events are to come in time; a late `advance` gives the same events with the same times. A caller that is
    late calls `advance` before `submit` and `cancel`.
    """

    def __init__(self, preset: Preset, rng: Rng, *, max_adapters: int = 0) -> None:
        self.preset = preset
        self.cache = BlockCache(preset.blocks)
        self.adapters = AdapterSlots(max_adapters)
        self.totals = Totals()
        self._rng = rng
        self._sequences: dict[int, _Sequence] = {}
        self._arrivals: list[tuple[float, int, _Sequence]] = []
        self._arrived = 0
        self._waiting: deque[_Sequence] = deque()
        self._running: dict[int, _Sequence] = {}  # in order of admission
        self._prefilling: list[_Sequence] = []
        self._decoding = 0
        self._context = 0  # tokens the decoding sequences attend to
        self._growing: dict[int, list[tuple[_Sequence, int]]] = {}  # by step: need a block for it
        self._finishing: dict[int, list[tuple[_Sequence, int]]] = {}  # by step: finish with it
        self._completing: list[tuple[_Sequence, int]] = []  # prefills that end with the step under way
        self._step_ends: float | None = None
        self._admission_stuck = False  # nothing changed since the queue was last refused

    @property
    def running(self) -> int:
        """Sequences in the batch, in prefill or decoding."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Sequences in the engine's queue."""
        return len(self._waiting)

    @property
    def waiting_adapters(self) -> tuple[str, ...]:
        """Adapters of queued sequences, by name."""
        return tuple(sorted({seq.adapter for seq in self._waiting if seq.adapter is not None}))

    def fits(self, prompt_tokens: int, output_tokens: int) -> bool:
        """Whether such a request could ever run here: its longest context is within the limits."""
        total = prompt_tokens + output_tokens
        return (
            total <= self.preset.max_model_len and -(-total // self.preset.block_tokens) <= self.preset.blocks
        )

    def submit(self, request: EngineRequest, now: float) -> None:
        """Take a request that the server received at *now*; it queues after the server's overhead.

        Raises ValueError for a request that could never run, or an id that is in use.
        """
        if request.prompt_tokens < 1 or request.output_tokens < 1:
            raise ValueError("a request has at least one prompt token and one output token")
        if not self.fits(request.prompt_tokens, request.output_tokens):
            raise ValueError("prompt and output exceed the model length or the KV cache")
        if request.adapter is not None and not self.adapters.limit:
            raise ValueError("this engine runs no adapters")
        if request.id in self._sequences:
            raise ValueError(f"request id {request.id} is in use")
        seq = self._sequences[request.id] = _Sequence(request)
        self._arrived += 1
        heapq.heappush(self._arrivals, (now + self.preset.overhead_s, self._arrived, seq))

    def cancel(self, request_id: int) -> None:
        """Drop a request, whatever its state, and free what it holds; an unknown id is ignored."""
        seq = self._sequences.get(request_id)
        if seq is None:
            return
        if seq.phase == "waiting":
            self._waiting.remove(seq)
            self._admission_stuck = False
        self._forget(seq)

    def generated(self, request_id: int) -> int:
        """Tokens that a request the engine holds has produced so far. Raises KeyError for an unknown id."""
        return self._produced(self._sequences[request_id])

    def next_event_at(self) -> float | None:
        """When something happens next if nothing is submitted; None: never."""
        if self._step_ends is not None:
            return self._step_ends
        return self._arrivals[0][0] if self._arrivals else None

    def advance(self, now: float) -> list[EngineEvent]:
        """Everything that happens up to and including *now*, in order."""
        events: list[EngineEvent] = []
        while (at := self.next_event_at()) is not None and at <= now:
            if self._step_ends is not None:
                self._end_step(at, events)
            self._receive(at)
            self._begin_step(at, events)
        return events

    def check(self) -> None:
        """Assert what must always hold; for tests."""
        held = sum(seq.private for seq in self._running.values())
        self.cache.check(held)
        decoding = [seq for seq in self._running.values() if seq.phase == "decode"]
        assert len(decoding) == self._decoding
        assert sum(self._context_of(seq) for seq in decoding) == self._context
        assert len(self._prefilling) + self._decoding == len(self._running) <= self.preset.max_seqs
        assert len(self.adapters.running) <= self.adapters.limit
        assert all(not seq.shared and not seq.private for seq in self._waiting)

    # --- steps

    def _receive(self, at: float) -> None:
        while self._arrivals and self._arrivals[0][0] <= at:
            seq = heapq.heappop(self._arrivals)[2]
            if seq.phase == "arriving":
                seq.phase = "waiting"
                self._waiting.append(seq)
                self._admission_stuck = False

    def _begin_step(self, at: float, events: list[EngineEvent]) -> None:
        self._grow(at, events)
        budget = self.preset.max_batched_tokens - self._decoding
        prefill, loads = self._schedule_prefill(max(0, budget))
        if not prefill and not self._decoding:
            self._step_ends = None
            return
        preset = self.preset
        seconds = (
            preset.step_s
            + preset.prefill_s * prefill
            + preset.decode_s * self._decoding
            + preset.context_s * self._context
        )
        seconds *= 1.0 + preset.jitter * (2.0 * self._rng.random() - 1.0)
        self._step_ends = at + seconds + loads * preset.adapter_load_s

    def _end_step(self, at: float, events: list[EngineEvent]) -> None:
        self.totals.steps += 1
        self.totals.generated_tokens += self._decoding
        self._context += self._decoding
        for seq, epoch in self._finishing.pop(self.totals.steps, ()):
            if seq.epoch == epoch:
                events.append(Finished(at, seq.request.id))
                self._forget(seq)
        for seq, epoch in self._completing:
            if seq.epoch == epoch:
                self._end_prefill(seq, at, events)
        self._completing.clear()

    def _end_prefill(self, seq: _Sequence, at: float, events: list[EngineEvent]) -> None:
        request, step = seq.request, self.totals.steps
        self.totals.generated_tokens += 1
        if seq.produced == 0:
            self.totals.prompt_tokens += request.prompt_tokens
            events.append(FirstToken(at, request.id, seq.cached or 0))
        self._prefilling.remove(seq)
        seq.phase = "decode"
        seq.joined = step
        self._decoding += 1
        self._context += seq.target
        left = request.output_tokens - seq.produced - 1
        if not left:
            events.append(Finished(at, request.id))
            self._forget(seq)
            return
        self._finishing.setdefault(step + left, []).append((seq, seq.epoch))
        self._book_growth(seq, step + 1 + -seq.target % self.preset.block_tokens)

    def _book_growth(self, seq: _Sequence, step: int) -> None:
        self._growing.setdefault(step, []).append((seq, seq.epoch))

    def _grow(self, at: float, events: list[EngineEvent]) -> None:
        """Give a block to each sequence whose next token starts one; preempt the newest when short."""
        step = self.totals.steps + 1
        for seq, epoch in self._growing.pop(step, ()):
            while seq.epoch == epoch and not self.cache.available:
                self._preempt(next(reversed(self._running.values())), at, events)
            if seq.epoch != epoch:
                continue
            self._publish(seq, self._context_of(seq) // self.preset.block_tokens - 1)
            self.cache.take(1)
            seq.private += 1
            self._book_growth(seq, step + self.preset.block_tokens)

    # --- prefill and admission

    def _schedule_prefill(self, budget: int) -> tuple[int, int]:
        """Spend *budget* on prefill chunks; tokens spent, and adapters that must be loaded for them."""
        left, loads = budget, 0
        for seq in self._prefilling:
            if not left:
                break
            left -= self._compute_chunk(seq, left)
        if self._admission_stuck:
            return budget - left, 0
        passed_over: list[_Sequence] = []
        while left and self._waiting and len(self._running) < self.preset.max_seqs:
            seq = self._waiting[0]
            if seq.adapter is not None and not self.adapters.has_room(seq.adapter):
                passed_over.append(self._waiting.popleft())
                continue
            if not self._place(seq):
                self._admission_stuck = True
                break
            loads += self._admit(self._waiting.popleft())
            left -= self._compute_chunk(seq, left)
        if passed_over and not self._waiting:
            self._admission_stuck = True
        self._waiting.extendleft(reversed(passed_over))
        return budget - left, loads

    def _place(self, seq: _Sequence) -> bool:
        """Take the blocks of the whole prefill, reusing its cached prefix; False when they are not there."""
        size = self.preset.block_tokens
        target = seq.request.prompt_tokens + seq.produced
        # The last token is always computed: its output is the next token.
        hit = self.cache.match(seq.request.blocks, (target - 1) // size)
        prefix = seq.request.blocks[:hit]
        need = -(-target // size) - hit
        if need > self.cache.available - self.cache.idle_among(prefix):
            return False
        self.cache.share(prefix)
        self.cache.take(need)
        seq.shared = list(prefix)
        seq.private = need
        seq.target = target
        seq.computed = hit * size
        return True

    def _admit(self, seq: _Sequence) -> bool:
        """Put a placed sequence into the batch; True when its adapter must be loaded."""
        if seq.cached is None:
            seq.cached = seq.computed
            self.totals.prefix_queries += seq.request.prompt_tokens
            self.totals.prefix_hits += seq.cached
        seq.phase = "prefill"
        self._running[seq.request.id] = seq
        self._prefilling.append(seq)
        return seq.adapter is not None and self.adapters.start(seq.adapter)

    def _compute_chunk(self, seq: _Sequence, budget: int) -> int:
        tokens = min(budget, seq.target - seq.computed)
        size = self.preset.block_tokens
        before = seq.computed // size
        seq.computed += tokens
        for index in range(before, seq.computed // size):
            self._publish(seq, index)
        if seq.computed == seq.target:
            self._completing.append((seq, seq.epoch))
        return tokens

    def _publish(self, seq: _Sequence, index: int) -> None:
        """The sequence's block *index* is full: later prompts may share it."""
        blocks = seq.request.blocks
        if index < len(blocks) and self.cache.publish(blocks[index]):
            seq.shared.append(blocks[index])
            seq.private -= 1

    # --- leaving

    def _preempt(self, seq: _Sequence, at: float, events: list[EngineEvent]) -> None:
        seq.produced = self._produced(seq)
        self._leave_batch(seq)
        seq.phase = "waiting"
        self._waiting.appendleft(seq)
        self.totals.preemptions += 1
        events.append(Preempted(at, seq.request.id))

    def _forget(self, seq: _Sequence) -> None:
        if seq.request.id in self._running:
            self._leave_batch(seq)
        seq.phase = "gone"
        del self._sequences[seq.request.id]

    def _leave_batch(self, seq: _Sequence) -> None:
        if seq.phase == "decode":
            self._decoding -= 1
            self._context -= self._context_of(seq)
        else:
            self._prefilling.remove(seq)
        seq.epoch += 1
        del self._running[seq.request.id]
        self.cache.release(seq.shared, seq.private)
        seq.shared, seq.private = [], 0
        if seq.adapter is not None:
            self.adapters.stop(seq.adapter)
        self._admission_stuck = False

    def _produced(self, seq: _Sequence) -> int:
        if seq.phase != "decode":
            return seq.produced
        return seq.produced + 1 + self.totals.steps - seq.joined

    def _context_of(self, seq: _Sequence) -> int:
        """Tokens whose KV a decoding sequence holds."""
        return seq.target + self.totals.steps - seq.joined
