"""The measured pace of a queue."""

import pytest

from headgate.flow.drain import FIRST_GUESS_S, DrainRate


def test_nobody_knows_before_anything_went() -> None:
    drain = DrainRate()
    assert drain.per_second() is None
    assert drain.wait_s(1000) == FIRST_GUESS_S


def test_only_time_with_somebody_waiting_counts() -> None:
    drain = DrainRate()
    now = 0.0
    for _ in range(40):
        drain.pass_time(now, False)  # idle until now
        for _ in range(5):
            now += 0.5
            drain.pass_time(now, True)
            drain.went()
        now += 1000.0
    assert drain.per_second() == pytest.approx(2.0, rel=0.05)
    assert drain.wait_s(100) == pytest.approx(50.0, rel=0.05)


def test_the_recent_past_counts_most() -> None:
    drain = DrainRate()
    for step in range(1000):
        drain.pass_time(step * 0.1, True)
        drain.went()
    for step in range(200):
        drain.pass_time(100.0 + step, True)
        drain.went()
    assert drain.per_second() == pytest.approx(1.0, rel=0.1)
