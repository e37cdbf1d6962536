"""The engine model against what real engines do."""

import random
from typing import Any

import msgspec
import pytest

from headgate.sim.engine import EngineEvent, EngineModel, EngineRequest, Finished, FirstToken, Preempted
from headgate.sim.presets import PRESETS

EXACT = msgspec.structs.replace(PRESETS["8b-h100"], jitter=0.0, overhead_s=0.0)


def engine(max_adapters: int = 0, **changes: Any) -> EngineModel:
    return EngineModel(msgspec.structs.replace(EXACT, **changes), random.Random(0), max_adapters=max_adapters)


def request(number: int, prompt: int, output: int, **more: Any) -> EngineRequest:
    blocks = more.pop("blocks", tuple(hash((number, block)) for block in range((prompt + output) // 16)))
    return EngineRequest(id=number, prompt_tokens=prompt, output_tokens=output, blocks=blocks, **more)


def run(model: EngineModel) -> list[EngineEvent]:
    """Everything until the engine is idle."""
    events = model.advance(1e9)
    model.check()
    return events


def first_tokens(events: list[EngineEvent]) -> dict[int, float]:
    return {event.id: event.at for event in events if isinstance(event, FirstToken)}


def finishes(events: list[EngineEvent]) -> dict[int, float]:
    return {event.id: event.at for event in events if isinstance(event, Finished)}


def test_a_lone_request_takes_the_time_of_the_formula() -> None:
    model = engine()
    model.submit(request(1, 1_000, 3), 10.0)
    events = run(model)
    prefill = EXACT.step_s + 1_000 * EXACT.prefill_s
    decode = 2 * (EXACT.step_s + EXACT.decode_s) + (1_000 + 1_001) * EXACT.context_s
    assert first_tokens(events) == {1: pytest.approx(10 + prefill)}
    assert finishes(events) == {1: pytest.approx(10 + prefill + decode)}


def test_the_overhead_comes_before_the_queue() -> None:
    model = engine(overhead_s=0.03)
    model.submit(request(1, 100, 1), 0.0)
    assert model.next_event_at() == pytest.approx(0.03)
    assert (model.waiting, model.running) == (0, 0)
    model.advance(0.03)
    assert model.running == 1


def test_one_token_answers_finish_with_their_prefill() -> None:
    model = engine()
    model.submit(request(1, 100, 1), 0.0)
    events = run(model)
    assert first_tokens(events) == finishes(events)


def test_a_long_prompt_is_computed_in_chunks_of_the_budget() -> None:
    model = engine()
    model.submit(request(1, 20_000, 1), 0.0)
    events = run(model)
    assert model.totals.steps == 3
    assert first_tokens(events)[1] == pytest.approx(3 * EXACT.step_s + 20_000 * EXACT.prefill_s)


def test_a_chunk_of_prefill_holds_up_decoding() -> None:
    alone, disturbed = engine(), engine()
    for model in (alone, disturbed):
        model.submit(request(1, 100, 200), 0.0)
    disturbed.submit(request(2, 8_000, 1), 0.5)
    delay = finishes(run(disturbed))[1] - finishes(run(alone))[1]
    assert delay == pytest.approx(8_000 * EXACT.prefill_s, rel=0.01)


def test_decoding_slows_with_the_batch_and_its_context() -> None:
    few, many = engine(), engine()
    few.submit(request(0, 80, 100), 0.0)
    for number in range(100):
        many.submit(request(number, 80, 100), 0.0)
    few_events, many_events = run(few), run(many)
    alone = finishes(few_events)[0] - first_tokens(few_events)[0]
    crowded = finishes(many_events)[99] - first_tokens(many_events)[99]
    step = EXACT.step_s + 100 * EXACT.decode_s + 100 * 129 * EXACT.context_s
    assert crowded == pytest.approx(99 * step, rel=0.001)
    assert crowded > 1.3 * alone


def test_steps_are_jittered_around_the_formula() -> None:
    model = engine(jitter=0.1)
    for number in range(200):
        model.submit(request(number, 1_000, 1), float(number))
    took = [at - number for number, at in first_tokens(run(model)).items()]
    expected = EXACT.step_s + 1_000 * EXACT.prefill_s
    assert sum(took) / len(took) == pytest.approx(expected, rel=0.02)
    assert 0.9 * expected <= min(took) < 0.93 * expected
    assert 1.07 * expected < max(took) <= 1.1 * expected


def test_a_shared_prefix_is_not_computed_again() -> None:
    model = engine()
    prefix = tuple(range(1, 51))
    model.submit(request(1, 801, 1, blocks=prefix), 0.0)
    model.submit(request(2, 1_000, 1, blocks=(*prefix, *range(100, 112))), 10.0)
    events = run(model)
    assert [event.cached_tokens for event in events if isinstance(event, FirstToken)] == [0, 800]
    assert first_tokens(events)[2] - 10 == pytest.approx(EXACT.step_s + 200 * EXACT.prefill_s)
    assert (model.totals.prefix_queries, model.totals.prefix_hits) == (1_801, 800)


def test_the_last_prompt_token_is_always_computed() -> None:
    model = engine()
    model.submit(request(1, 160, 1, blocks=tuple(range(10))), 0.0)
    model.submit(request(2, 160, 1, blocks=tuple(range(10))), 1.0)
    run(model)
    assert model.totals.prefix_hits == 144


def test_generated_tokens_are_cached_for_the_next_turn() -> None:
    model = engine()
    chain = tuple(range(40))
    model.submit(request(1, 160, 320, blocks=chain[:30]), 0.0)
    model.submit(request(2, 640, 1, blocks=chain), 100.0)
    run(model)
    # The last token of an answer is never fed back, so its block stays unfinished.
    assert model.totals.prefix_hits == 464


def test_prompts_that_arrive_together_share_blocks_of_the_same_step() -> None:
    model = engine()
    for number in (1, 2):
        model.submit(request(number, 1_601, 1, blocks=tuple(range(100))), 0.0)
    run(model)
    assert model.totals.prefix_hits == 1_600


def test_the_oldest_prefix_is_evicted_when_the_cache_is_full() -> None:
    model = engine(kv_tokens=16 * 100, max_model_len=1_600)
    for at, number in enumerate((1, 2, 3, 2, 1)):
        blocks = tuple(hash((number, block)) for block in range(40))
        model.submit(request(at, 641, 1, blocks=blocks), float(at))
    hits = [event.cached_tokens for event in run(model) if isinstance(event, FirstToken)]
    assert hits[:3] == [0, 0, 0]
    assert hits[3] == 640  # still there
    assert hits[4] < 640  # evicted for the third, at least its end
    assert model.cache.evictions > 0


def test_a_prompt_that_does_not_fit_blocks_those_behind_it() -> None:
    model = engine(kv_tokens=16 * 100, max_model_len=1_600)
    model.submit(request(1, 800, 100), 0.0)
    model.submit(request(2, 1_000, 1), 0.1)
    model.submit(request(3, 16, 1), 0.2)
    model.advance(0.3)
    assert (model.running, model.waiting) == (1, 2)
    events = run(model)
    assert first_tokens(events)[2] > finishes(events)[1]
    assert first_tokens(events)[3] >= first_tokens(events)[2]


def test_the_batch_is_limited() -> None:
    model = engine(max_seqs=4)
    for number in range(10):
        model.submit(request(number, 16, 50), 0.0)
    model.advance(0.05)
    assert (model.running, model.waiting) == (4, 6)
    assert len(finishes(run(model))) == 10


def test_the_newest_is_preempted_and_computed_again_when_blocks_run_out() -> None:
    model = engine(kv_tokens=16 * 64, max_model_len=1_024)
    model.submit(request(1, 400, 300), 0.0)
    model.submit(request(2, 400, 300), 0.0)
    events = run(model)
    preempted = [event.id for event in events if isinstance(event, Preempted)]
    assert preempted == [2]
    assert model.totals.preemptions == 1
    assert len([event for event in events if isinstance(event, FirstToken)]) == 2
    assert finishes(events)[2] > finishes(events)[1]
    assert model.totals.generated_tokens == 600


def test_a_preempted_request_keeps_its_tokens() -> None:
    model = engine(kv_tokens=16 * 64, max_model_len=1_024)
    model.submit(request(1, 400, 300), 0.0)
    model.submit(request(2, 400, 300), 0.0)
    while not model.totals.preemptions:
        model.advance(model.next_event_at() or 0.0)
        before = model.generated(2)
    assert before == pytest.approx(112, abs=17)
    assert model.waiting == 1


def test_adapters_beyond_the_limit_wait_and_others_pass_them() -> None:
    model = engine(max_adapters=1)
    model.submit(request(1, 100, 50, adapter="a"), 0.0)
    model.submit(request(2, 100, 1, adapter="b"), 0.01)
    model.submit(request(3, 100, 1), 0.02)
    events = model.advance(0.3)
    assert model.adapters.running == ("a",)
    assert model.waiting_adapters == ("b",)
    events += run(model)
    assert first_tokens(events)[3] < finishes(events)[1] < first_tokens(events)[2]


def test_loading_an_adapter_holds_up_its_step() -> None:
    model = engine(max_adapters=1)
    for number, at in ((1, 0.0), (2, 10.0)):
        model.submit(request(number, 100, 1, adapter="a"), at)
    took = first_tokens(run(model))
    plain = EXACT.step_s + 100 * EXACT.prefill_s
    assert took[1] == pytest.approx(plain + EXACT.adapter_load_s)
    assert took[2] - 10 == pytest.approx(plain)


def test_a_cancelled_request_frees_what_it_holds() -> None:
    model = engine(max_adapters=1)
    model.submit(request(1, 10_000, 100, adapter="a"), 0.0)
    model.submit(request(2, 100, 100), 0.0)
    model.advance(0.0)
    assert model.cache.usage > 0
    model.cancel(1)
    model.cancel(2)
    model.check()
    assert (model.running, model.waiting, model.cache.usage) == (0, 0, 0.0)
    assert model.adapters.running == ()
    assert run(model) == []
    model.cancel(1)


def test_cancelling_lets_the_blocked_ones_in() -> None:
    model = engine(kv_tokens=16 * 100, max_model_len=1_600)
    model.submit(request(1, 1_000, 600), 0.0)
    model.submit(request(2, 1_000, 1), 0.0)
    model.advance(0.5)
    assert model.waiting == 1
    model.cancel(1)
    assert 2 in finishes(run(model))


def test_the_number_of_generated_tokens_can_be_asked_for() -> None:
    model = engine()
    model.submit(request(1, 100, 10), 0.0)
    seen = []
    while (at := model.next_event_at()) is not None:
        model.advance(at)
        if model.running:
            seen.append(model.generated(1))
    assert seen == [0, *range(1, 10)]
    with pytest.raises(KeyError):
        model.generated(1)


def test_late_advances_change_nothing() -> None:
    def play(tick: float) -> list[EngineEvent]:
        model, events = engine(jitter=0.1, kv_tokens=16 * 300, max_model_len=4_800), []
        for number in range(40):
            model.submit(request(number, 500 + number, 40), number * 0.01)
        now = 0.0
        while model.next_event_at() is not None:
            now += tick
            events += model.advance(now)
        return events

    assert play(0.001) == play(0.7)


@pytest.mark.parametrize(
    "wrong",
    [
        request(1, 0, 1),
        request(1, 1, 0),
        request(1, EXACT.max_model_len, 1),
        request(1, 1, 1, adapter="a"),
        request(9, 1, 1),
    ],
)
def test_what_can_never_run_is_refused(wrong: EngineRequest) -> None:
    model = engine()
    model.submit(request(9, 10, 10), 0.0)
    with pytest.raises(ValueError, match=r"."):
        model.submit(wrong, 0.0)
