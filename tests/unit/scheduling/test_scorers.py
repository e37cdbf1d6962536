"""Each scorer's formula, by hand-computed numbers."""

import random

import pytest
from msgspec.structs import replace
from tests.unit.scheduling.scheduling_builders import a_state, an_ask

from headgate.model.load import Load
from headgate.scheduling.costs import H100_8B, step_s, ttft_s
from headgate.scheduling.scorers.decode_pressure import DecodePressure
from headgate.scheduling.scorers.eviction_surcharge import EvictionSurcharge
from headgate.scheduling.scorers.least_requests import LeastRequests
from headgate.scheduling.scorers.lora_load import LoraLoad
from headgate.scheduling.scorers.prefill_wait import PrefillWait
from headgate.scheduling.scorers.round_robin import RoundRobin
from headgate.scheduling.scorers.session_affinity import SessionAffinity
from headgate.scheduling.scorers.uniform import Uniform


def test_prefill_wait_counts_pending_and_own_uncached_tokens() -> None:
    states = [a_state(0), a_state(1, pending_tokens=500), a_state(2, extra_pending_tokens=100)]
    scores = PrefillWait().score(an_ask(1000, {1: 600}), states)
    assert scores == pytest.approx([0.033, 0.0297, 0.0363])


def test_eviction_surcharge_is_seven_misses_on_a_full_cache() -> None:
    states = [a_state(0, fill=1.0), a_state(1, fill=0.5), a_state(2, fill=1.0), a_state(3)]
    scores = EvictionSurcharge().score(an_ask(1000, {2: 900}), states)
    assert scores == pytest.approx([0.231, 0.1155, 0.0231, 0.0])


def test_the_surcharge_is_shared_by_those_behind_the_same_prefix() -> None:
    states = [a_state(0, fill=1.0), a_state(1, fill=1.0)]
    scores = EvictionSurcharge().score(an_ask(1000, {1: 900}, sharers=9), states)
    assert scores == pytest.approx([0.0231, 0.00231])
    for scorer in PrefillWait(), DecodePressure(), LeastRequests():
        alone, together = (scorer.score(an_ask(1000, {1: 900}, sharers=h), states) for h in (0, 9))
        assert alone == together, "work is not"


def test_pace_prices_work_and_not_the_surcharge() -> None:
    even, slow = (
        a_state(slot, pace=pace, pending_tokens=900, in_flight=12, context_tokens=40_000, fill=0.8)
        for slot, pace in enumerate((1.0, 4.0))
    )
    for scorer, factor in (PrefillWait(), 4), (DecodePressure(), 4), (EvictionSurcharge(), 1):
        normal, priced = scorer.score(an_ask(1000), [even, slow])
        assert priced == pytest.approx(factor * normal)


def test_decode_pressure_is_thirty_two_steps() -> None:
    states = [a_state(0), a_state(1, in_flight=10, context_tokens=20_000), a_state(2, extra_requests=10)]
    scores = DecodePressure().score(an_ask(), states)
    assert scores == pytest.approx([0.208, 0.24576, 0.2144])


def test_the_default_terms_are_the_formula() -> None:
    state = a_state(0, pending_tokens=3000, in_flight=12, context_tokens=40_000, fill=0.8, pace=2.5)
    ask = an_ask(2000, {0: 500}, sharers=3)
    total = sum(
        scorer.score(ask, [state])[0] for scorer in (PrefillWait(), EvictionSurcharge(), DecodePressure())
    )
    prefill, own = 33e-6, 1500
    work = (3000 + own) * prefill + 32 * (6.5e-3 + 20e-6 * 12 + 49e-9 * 40_000)
    by_hand = 2.5 * work + 7 * 0.8 * own * prefill / (1 + 3)
    assert total == pytest.approx(by_hand)


def test_predictions_share_the_constants() -> None:
    state = a_state(0, pending_tokens=900, extra_pending_tokens=100, in_flight=10, context_tokens=10_000)
    assert step_s(state, H100_8B) == pytest.approx(0.00719)
    assert ttft_s(state, 1000, H100_8B) == pytest.approx(0.07319)


def test_lora_load() -> None:
    def load(limit: int | None) -> Load:
        return Load("vllm", 0, 0, lora_limit=limit)

    states = [
        a_state(0, load=load(2), adapters={"x"}),
        a_state(1, load=load(2), adapters={"y"}),
        a_state(2, load=load(1), adapters={"y"}),
        a_state(3, load=load(None)),
        a_state(4),
    ]
    assert LoraLoad().score(an_ask(adapter="x"), states) == [0.0, 0.5, 1.0, 0.5, 0.5]
    assert LoraLoad().score(an_ask(), states) == []


def test_least_requests_counts_foreign_ones() -> None:
    assert LeastRequests().score(an_ask(), [a_state(0, in_flight=3), a_state(1, extra_requests=2)]) == [
        3.0,
        2.0,
    ]


def test_round_robin_goes_on_after_the_last_and_skips_the_missing() -> None:
    states = [a_state(n) for n in range(4)]
    running = RoundRobin().start(random.Random(0))

    def turn(present: list[int]) -> int:
        here = [states[n] for n in present]
        scores = running.score(an_ask(), here)
        best = here[min(range(len(here)), key=scores.__getitem__)]
        running.sent(an_ask(), best)
        return best.slot

    assert [turn([0, 1, 2, 3]) for _ in range(6)] == [0, 1, 2, 3, 0, 1]
    assert [turn([0, 1, 3]) for _ in range(3)] == [3, 0, 1]


def test_uniform_uses_the_given_dice() -> None:
    running = Uniform().start(random.Random(5))
    dice = random.Random(5)
    states = [a_state(n) for n in range(3)]
    assert list(running.score(an_ask(), states)) == [dice.random() for _ in range(3)]


def test_a_session_costs_elsewhere_where_its_endpoint_may_be_chosen() -> None:
    states = [a_state(0), a_state(1), a_state(2)]
    scorer = SessionAffinity(away=0.5)
    assert scorer.score(replace(an_ask(), session_slot=1), states) == [0.5, 0.0, 0.5]
    assert scorer.score(replace(an_ask(), session_slot=7), states) == []
    assert scorer.score(an_ask(), states) == []
