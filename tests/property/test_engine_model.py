"""The engine model under arbitrary loads: its books balance, and every request ends exactly once."""

import random

import msgspec
from hypothesis import settings, stateful
from hypothesis import strategies as st

from headgate.sim.engine import EngineModel, EngineRequest, Finished, FirstToken, Preempted
from headgate.sim.presets import PRESETS

TINY = msgspec.structs.replace(
    PRESETS["8b-h100"],
    kv_tokens=16 * 24,
    max_model_len=16 * 20,
    max_batched_tokens=64,
    max_seqs=5,
    adapter_load_s=0.02,
)


class Engine(stateful.RuleBasedStateMachine):
    """Random arrivals, cancellations and pauses on an engine so small that everything runs short."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = EngineModel(TINY, random.Random(0), max_adapters=2)
        self.now = 0.0
        self.number = 0
        self.open: dict[int, EngineRequest] = {}
        self.started: set[int] = set()

    @stateful.rule(
        prompt=st.integers(1, 200),
        output=st.integers(1, 100),
        family=st.integers(0, 3),
        adapter=st.sampled_from([None, None, "a", "b", "c"]),
    )
    def submit(self, prompt: int, output: int, family: int, adapter: str | None) -> None:
        self.number += 1
        blocks = tuple(hash((family, adapter, index)) for index in range((prompt + output) // 16))
        request = EngineRequest(
            id=self.number, prompt_tokens=prompt, output_tokens=output, blocks=blocks, adapter=adapter
        )
        self.engine.submit(request, self.now)
        self.open[self.number] = request

    @stateful.precondition(lambda self: self.open)
    @stateful.rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.sampled_from(sorted(self.open)))
        self.engine.cancel(number)
        del self.open[number]

    @stateful.rule(seconds=st.floats(0.001, 1.0))
    def let_time_pass(self, seconds: float) -> None:
        self.now += seconds
        self._play(self.now)

    def _play(self, until: float) -> None:
        before = -1.0
        for event in self.engine.advance(until):
            assert before <= event.at <= until
            before = event.at
            match event:
                case FirstToken(_, number, cached):
                    assert number not in self.started
                    assert 0 <= cached < self.open[number].prompt_tokens
                    self.started.add(number)
                case Finished(_, number):
                    assert number in self.started
                    del self.open[number]
                case Preempted(_, number):
                    assert number in self.open

    @stateful.invariant()
    def the_books_balance(self) -> None:
        self.engine.check()
        for number, request in self.open.items():
            assert 0 <= self.engine.generated(number) < request.output_tokens

    def teardown(self) -> None:
        self._play(1e9)
        assert not self.open
        assert self.engine.next_event_at() is None
        assert (self.engine.running, self.engine.waiting, self.engine.cache.usage) == (0, 0, 0.0)
        self.engine.check()


Engine.TestCase.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestEngine = Engine.TestCase
