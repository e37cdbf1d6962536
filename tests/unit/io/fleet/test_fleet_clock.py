"""Virtual time."""

import pytest

from headgate.io.fleet.clock import FleetClock


def test_it_runs_at_its_rate() -> None:
    clock = FleetClock(20.0, wall=100.0)
    assert clock.now(100.0) == 0.0
    assert clock.now(101.0) == 20.0
    assert clock.wall_at(30.0) == pytest.approx(101.5)


def test_a_new_rate_counts_from_now_on() -> None:
    clock = FleetClock(10.0, wall=0.0)
    clock.set_rate(2.0, wall=1.0)
    assert clock.now(2.0) == 12.0
    assert clock.wall_at(14.0) == pytest.approx(3.0)


def test_frozen_time_never_comes_and_goes_on_where_it_stopped() -> None:
    clock = FleetClock(10.0, wall=0.0)
    clock.set_rate(0.0, wall=1.0)
    assert clock.now(50.0) == 10.0
    assert clock.wall_at(11.0) is None
    clock.set_rate(10.0, wall=50.0)
    assert clock.now(51.0) == 20.0
