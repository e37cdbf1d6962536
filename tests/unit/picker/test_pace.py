"""What answers teach of an endpoint's pace, and how paces compare."""

import math
import random
from collections.abc import Iterable

import hypothesis.strategies as st
import pytest
from hypothesis import given

from headgate.picker.pace import BOUND, FEWEST_ANSWERS, Pace, fast_fifth


def a_pace(ratios: Iterable[float]) -> Pace:
    """After answers that took so many times longer than predicted."""
    pace = Pace()
    for at, ratio in enumerate(ratios):
        pace.learn(0.01 * ratio, 0.01, float(at))
    return pace


@given(ratios=st.lists(st.floats(0.0, 1e6), min_size=1, max_size=40))
def test_the_first_fifty_answers_weigh_alike_and_none_counts_beyond_the_bound(ratios: list[float]) -> None:
    bounded = [math.log(min(BOUND, max(1 / BOUND, ratio))) for ratio in ratios]
    assert a_pace(ratios).log == pytest.approx(sum(bounded) / len(bounded), abs=1e-9)


def test_an_endpoint_that_got_slower_is_noticed_within_fifty_answers() -> None:
    pace = a_pace([1.0] * 500 + [4.0] * 50)
    assert 0.6 * math.log(4) < pace.log < math.log(4)


def test_differences_beyond_a_quarter_count_by_what_exceeds_it() -> None:
    def relative(ratio: float) -> float:
        return a_pace([ratio] * FEWEST_ANSWERS).relative(0.0)

    assert [relative(ratio) for ratio in (0.81, 1.0, 1.24)] == [1.0] * 3
    assert relative(4.0) == pytest.approx(4 / 1.25, rel=0.02)
    assert relative(0.25) == pytest.approx(1.25 / 4, rel=0.02)


def test_four_answers_say_nothing_yet() -> None:
    assert a_pace([4.0] * (FEWEST_ANSWERS - 1)).relative(0.0) == 1.0


def test_small_changes_change_nothing() -> None:
    one = a_pace([4.0] * 200)
    before = one.relative(0.0)
    one.learn(0.0402, 0.01, 1.0)
    assert one.log != pytest.approx(math.log(4), abs=1e-9)
    assert one.relative(0.0) == before


def test_the_fast_fifth_is_the_reference() -> None:
    slow, fast, new = [a_pace([4.0] * 9)] * 8, [a_pace([1.0] * 9)] * 2, [Pace()] * 5
    assert fast_fifth([*slow, *fast, *new]) == pytest.approx(0.0)
    assert fast_fifth([*slow, *new]) == pytest.approx(math.log(4))
    assert fast_fifth(new) == fast_fifth([]) == 0.0
    outlier = a_pace([0.2] * 9)
    assert fast_fifth([*slow, *fast, *fast, *fast, outlier]) == pytest.approx(0.0), "not the very fastest"


@given(seed=st.integers(0, 1000), fleet=st.integers(1, 32), off=st.sampled_from([0.5, 1.0, 3.0]))
def test_an_even_fleet_has_no_slow_endpoint_whatever_its_constants(seed: int, fleet: int, off: float) -> None:
    rng = random.Random(seed)
    paces = [a_pace(off * rng.uniform(0.85, 1.15) for _ in range(60)) for _ in range(fleet)]
    assert {pace.relative(fast_fifth(paces)) for pace in paces} == {1.0}
