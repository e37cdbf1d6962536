"""Requests whose end nobody told: given up when the engine's count says so, and only then."""

from collections.abc import Callable, Iterator

import pytest
from tests.unit.picker.picker_builders import (
    a_machine,
    a_pool,
    address,
    arrives,
    ends,
    no_scrape,
    scrape,
    short,
    starts,
    token,
)

from headgate.picker.machine import PoolMachine

ONLY_A = (address("a"),)


@pytest.fixture
def machine() -> Iterator[PoolMachine]:
    made = a_machine("ab")
    yield made
    made.check()


def begin(machine: PoolMachine, count: int, now: float = 0.0, first: int = 1) -> None:
    """So many requests go to a and are being answered; the engine is seen to run them."""
    machine.handle(scrape("a", progress=now), now)
    for stream in range(first, first + count):
        for event in (arrives(stream, chr(200 + stream), subset=ONLY_A), starts(stream), token(stream)):
            machine.handle(event, now)
    machine.handle(scrape("a", running=count, progress=now + 1.0), now + 0.5)


def scrapes(
    machine: PoolMachine, start: float, end: float, running: Callable[[float], int], every: float = 0.5
) -> list[str]:
    """Scrapes of a over a time; what is concluded."""
    told = []
    now = start
    while now < end:
        told += short(machine.handle(scrape("a", running=running(now), progress=1000.0), now))
        now += every
    return told


def test_lost_ends_are_concluded_when_scrapes_show_an_idle_engine(machine: PoolMachine) -> None:
    begin(machine, 40)
    assert scrapes(machine, 1.0, 3.0, lambda _: 0) == [], "their ends may be on the way"
    assert scrapes(machine, 3.0, 10.0, lambda _: 0) == ["lost 200"] * 40
    assert machine.view(10.0).in_flight == 0


@pytest.mark.parametrize(("longest_s", "given_up_at"), [(None, 60.0), (2.0, 10.0), (20.0, 30.0)])
def test_while_it_runs_some_only_as_many_as_are_too_many_and_older_than_any_answer(
    machine: PoolMachine, longest_s: float | None, given_up_at: float
) -> None:
    if longest_s is not None:
        machine.handle(arrives(70, "y", subset=ONLY_A), -longest_s)
        machine.handle(ends(70), 0.0)
    begin(machine, 5)
    machine.handle(arrives(9, "x", subset=ONLY_A), 1.0)
    assert scrapes(machine, 1.5, given_up_at, lambda _: 2) == []
    assert scrapes(machine, given_up_at, given_up_at + 5.0, lambda _: 2) == ["lost 200"] * 4
    now = given_up_at + 5.0
    assert short(machine.handle(ends(9), now)) == ["complete 200"]
    assert short(machine.handle(ends(5), now)) == ["complete 200"], "the youngest were spared"


def test_young_requests_are_left_alone(machine: PoolMachine) -> None:
    begin(machine, 1)
    machine.handle(ends(1), 0.9)
    stream = 10
    for step in range(200):
        now = 1.0 + step / 10
        stream += 1
        machine.handle(arrives(stream, chr(300 + step), subset=ONLY_A), now)
        if step >= 15:  # each takes 1.5 s, of which the engine never counts any
            assert short(machine.handle(ends(stream - 15), now)) == ["complete 200"]
        if step % 5 == 0:
            assert short(machine.handle(scrape("a", progress=1000.0 + step), now)) == []


@pytest.mark.parametrize("page", ["no count of running ones", "frozen", "frozen while it ran some"])
def test_counts_that_mean_nothing_are_not_believed(machine: PoolMachine, page: str) -> None:
    if page == "no count of running ones":
        machine.handle(scrape("a", waiting=1, progress=1.0), 0.0)
    else:
        machine.handle(scrape("a", running=1, progress=2.0), -1.0)
        if page == "frozen":
            machine.handle(scrape("a", progress=2.0), -0.5)
    running = 1 if page == "frozen while it ran some" else 0
    for stream in range(1, 20):
        machine.handle(arrives(stream, chr(200 + stream), subset=ONLY_A), 0.0)
    for step in range(600):
        moves = float(step) if page == "no count of running ones" else 2.0
        told = machine.handle(scrape("a", running=running, progress=moves), 1.0 + step / 2)
        assert short(told) == []
    assert machine.view(300.0).in_flight == 19


def test_a_count_that_proved_wrong_is_not_believed_again(machine: PoolMachine) -> None:
    """One of several server processes answers the scrape and counts its own requests only."""
    begin(machine, 10)
    assert len(scrapes(machine, 1.0, 90.0, lambda _: 4)) == 6
    for stream in range(1, 11):
        machine.handle(ends(stream), 91.0)
    assert machine.view(91.0).in_flight == 0
    begin(machine, 10, 100.0, first=100)
    assert scrapes(machine, 101.0, 900.0, lambda _: 4) == []
    assert machine.view(900.0).in_flight == 10


def test_a_few_scrapes_or_a_dead_one_prove_nothing(machine: PoolMachine) -> None:
    begin(machine, 3)
    assert scrapes(machine, 1.0, 3.5, lambda now: int(now * 2) % 4 == 0) == []
    for step in range(100):
        assert short(machine.handle(no_scrape("a", "timeout"), 4.0 + step / 2)) == []
    assert machine.view(60.0).in_flight == 3
    machine.handle(a_pool("b"), 61.0)
    assert scrapes(machine, 61.0, 90.0, lambda _: 0) == [], "who left is not scraped"
    assert machine.view(90.0).in_flight == 3
