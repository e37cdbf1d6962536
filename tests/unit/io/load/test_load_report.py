"""Samples summed up."""

import pytest

from headgate.io.load.report import Percentiles, Sample, make_report


def sample(
    ttft_s: float | None = 0.1,
    tpot_s: float | None = 0.01,
    error: str | None = None,
    first_byte: bool = True,
    endpoint: str | None = "a:1",
) -> Sample:
    return Sample(
        at_s=0.0,
        status=200,
        error=error,
        first_byte=first_byte,
        ttft_s=ttft_s,
        tpot_s=tpot_s,
        duration_s=1.0,
        prompt_tokens=100,
        cached_tokens=40,
        completion_tokens=10,
        endpoint=endpoint,
    )


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert Percentiles.of([3.0, None, 1.0, 2.0]) == Percentiles(2.0, 3.0, 3.0)
    assert Percentiles.of(float(i) for i in range(1, 101)) == Percentiles(50.0, 90.0, 99.0)
    assert Percentiles.of([7.0]) == Percentiles(7.0, 7.0, 7.0)
    assert Percentiles.of([None]) == Percentiles()


def test_a_report() -> None:
    report = make_report(
        [
            sample(),
            sample(ttft_s=2.5),
            sample(tpot_s=0.06, endpoint="b:1"),
            sample(tpot_s=None),
            sample(ttft_s=None, tpot_s=None, error="503 no-endpoints", first_byte=False, endpoint=None),
            sample(error="cut off"),
            sample(error="cut off"),
        ],
        elapsed_s=2.0,
        not_sent=1,
    )
    assert (report.requests, report.ok, report.not_sent) == (7, 4, 1)
    assert (report.failed_before_first_byte, report.failed_after_first_byte) == (1, 2)
    assert report.errors == {"cut off": 2, "503 no-endpoints": 1}
    assert report.goodput == 2 / 8
    assert report.tokens_per_s == 35.0
    assert report.hit_rate == 0.4
    assert report.endpoints == {"a:1": 3, "b:1": 1}
    assert report.ttft == Percentiles(0.1, 2.5, 2.5)


def test_speed_tightens_the_bounds() -> None:
    samples = [sample(ttft_s=0.3, tpot_s=0.004)]
    assert make_report(samples, elapsed_s=1.0).goodput == 1.0
    fast = make_report(samples, elapsed_s=1.0, speed=10.0)
    assert (fast.goodput, fast.ttft_bound_s) == (0.0, 0.2)
    assert fast.tpot_bound_s == pytest.approx(0.005)


def test_nothing_happened() -> None:
    report = make_report([], elapsed_s=0.0)
    assert (report.requests, report.goodput, report.hit_rate, report.tokens_per_s) == (0, 0.0, 0.0, 0.0)
