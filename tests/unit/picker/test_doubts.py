"""Whose fault a 4xx is: the rule alone, then a pool under traffic."""

import random
from collections import Counter

import pytest
from tests.unit.picker.picker_builders import (
    a_machine,
    address,
    arrives,
    ends,
    letter,
    pick,
    routed,
    starts,
    token,
)

from headgate.picker.doubts import FRESH_S, IN_A_ROW, KINDS, REFUSALS, Doubts

K = 7


def doubts(*well: int) -> Doubts:
    """Slots *well* answered kind K at 0."""
    made = Doubts(1.0, 30.0)
    for slot in well:
        made.answered(K, slot, 0.0)
    return made


def refuse(made: Doubts, slot: int, times: int, now: float = 1.0) -> None:
    for _ in range(times):
        made.refused(K, slot, "answered 404", now)


def test_so_many_in_a_row_where_others_answer_are_a_doubt() -> None:
    made = doubts(0, 1)
    refuse(made, 2, IN_A_ROW - 1)
    assert not made.of(K, 1.0)
    refuse(made, 2, 1)
    assert set(made.of(K, 1.0)) == {2}
    assert "answered 404" in made.about(2, 1.0)
    assert not made.of(K + 1, 1.0)
    assert not made.about(1, 1.0)


def test_nobody_is_doubted_where_nobody_answers_well() -> None:
    made = doubts()
    for slot in range(4):
        refuse(made, slot, 50)
    assert not made.of(K, 1.0)
    made = doubts(0)
    refuse(made, 0, 50)
    assert not made.of(K, 1.0)


def test_an_old_good_answer_proves_nothing() -> None:
    made = doubts(0)
    refuse(made, 1, IN_A_ROW, FRESH_S + 0.5)
    assert not made.of(K, FRESH_S + 0.5)


def test_a_sound_endpoint_that_refuses_too_clears_the_others() -> None:
    made = doubts(0, 1)
    refuse(made, 2, IN_A_ROW)
    refuse(made, 0, 1)
    assert not made.of(K, 1.0)


def test_a_broken_endpoint_does_not_clear_another() -> None:
    made = doubts(0)
    refuse(made, 1, IN_A_ROW)
    refuse(made, 2, IN_A_ROW)
    assert set(made.of(K, 1.0)) == {1, 2}


def test_a_doubtful_endpoint_is_tried_again_ever_later_until_it_answers_well() -> None:
    made, now, rests = doubts(), 1.0, []
    for _ in range(8):
        made.answered(K, 0, now)
        refuse(made, 1, IN_A_ROW, now)
        start = now
        while made.of(K, now):
            made.answered(K, 0, now)
            now += 0.125
        rests.append(now - start)
    assert rests == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]
    made.answered(K, 1, now)
    refuse(made, 1, IN_A_ROW - 1, now)
    assert not made.of(K, now)


def test_who_refuses_is_told_until_it_answers_well_whether_it_rests_or_not() -> None:
    made = doubts(0)
    assert not made.refusing()
    refuse(made, 1, IN_A_ROW - 1)
    assert not made.refusing()
    refuse(made, 1, 1)
    assert set(made.refusing()) == {1}
    assert not made.of(K, 100.0), "it is tried again"
    assert set(made.refusing()) == {1}
    made.answered(K, 1, 101.0)
    assert not made.refusing()


def test_what_everybody_refuses_is_nobodys_refusal() -> None:
    made = doubts(0)
    refuse(made, 0, 50)
    refuse(made, 1, 50)
    assert not made.refusing()


def test_what_is_remembered_is_bounded_and_goes_with_the_endpoint() -> None:
    made = doubts(0)
    refuse(made, 1, IN_A_ROW)
    for kind in range(1000, 1000 + KINDS - 1):
        made.answered(kind, 0, 1.0)
    made.forget(1)
    assert not made.of(K, 1.0)
    refuse(made, 2, IN_A_ROW)
    assert made.of(K, 1.0)
    made.answered(5000, 0, 1.0)
    assert not made.of(K, 1.0)


class Traffic:
    """A machine whose endpoints answer after their own time."""

    def __init__(self, seed: int = 1) -> None:
        self.machine = a_machine("abcd")
        self.dice = random.Random(seed)
        self.now = 0.0
        self.picks: Counter[str] = Counter()
        self.stream = 0
        self.running: list[tuple[float, int, int]] = []

    def ask(self, model: str, statuses: dict[str, int], fault: int | None = None) -> str:
        """One request; *statuses*: what an endpoint answers, 200 where nothing is said; *fault*: everyone."""
        self.now += 0.01
        self.settle()
        self.stream += 1
        prompt = chr(600 + self.dice.randrange(3000)) * 3
        where = pick(self.machine, arrives(self.stream, prompt, model=model, path="/v1/chat"), self.now)
        status = fault or statuses.get(where, 200)
        self.running.append((self.now + (1.0 if status == 200 else 0.005), self.stream, status))
        self.picks[where] += 1
        return where

    def settle(self) -> None:
        due = sorted(each for each in self.running if each[0] <= self.now)
        self.running = [each for each in self.running if each[0] > self.now]
        for at, stream, status in due:
            self.machine.handle(starts(stream, status), at)
            if status == 200:
                self.machine.handle(token(stream), at)
            self.machine.handle(ends(stream, "complete", status), at)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_fast_refusal_is_no_black_hole(status: int) -> None:
    traffic = Traffic()
    for _ in range(2000):
        traffic.ask("m", {"a": status})
    assert traffic.picks["a"] < 150, traffic.picks
    assert all(one.condition == "up" for one in traffic.machine.view(traffic.now).endpoints)
    shown = {letter(one.endpoint): one.reason for one in traffic.machine.view(traffic.now).endpoints}
    assert str(status) in shown["a"]
    assert not shown["b"]
    traffic.machine.check()


def test_two_of_four_that_refuse_are_both_avoided_and_only_for_that_model() -> None:
    traffic = Traffic()
    for _ in range(1500):
        traffic.ask("m", {"a": 404, "b": 404})
    assert traffic.picks["a"] + traffic.picks["b"] < 250, traffic.picks
    assert set(traffic.machine.refusing()) == {address("a"), address("b")}
    traffic.picks.clear()
    for _ in range(200):
        traffic.ask("other", {})
    assert min(traffic.picks[name] for name in "abcd") > 20, traffic.picks


def test_a_mended_endpoint_comes_back() -> None:
    traffic = Traffic()
    for _ in range(500):
        traffic.ask("m", {"a": 404})
    traffic.picks.clear()
    for _ in range(6000):
        traffic.ask("m", {})
    assert traffic.picks["a"] > 500, traffic.picks


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("status", [400, 401, 404, 422])
def test_a_client_whose_every_request_is_wrong_puts_nobody_down(status: int, seed: int) -> None:
    traffic = Traffic(seed)
    for _ in range(1500):
        if traffic.dice.random() < 0.5:
            traffic.ask("m", {}, fault=status)
        else:
            traffic.ask("m", {})
    assert all(one.condition == "up" for one in traffic.machine.view(traffic.now).endpoints)
    traffic.now += 5.0
    traffic.settle()
    traffic.picks.clear()
    for _ in range(200):
        traffic.ask("m", {})
    assert min(traffic.picks[name] for name in "abcd") > 20, traffic.picks


def test_judgements_of_a_requests_content_are_no_refusals() -> None:
    assert not REFUSALS & {400, 408, 409, 411, 413, 415, 422, 429, 499}


def test_a_doubtful_endpoint_serves_where_nobody_else_may() -> None:
    traffic = Traffic()
    machine = traffic.machine
    while not machine.view(traffic.now).endpoints[0].reason:
        traffic.ask("m", {"a": 404})
    now = traffic.now
    only_a = (address("a"),)
    assert pick(machine, arrives(9000, "x", model="m", path="/v1/chat", subset=only_a), now) == "a"
    route = routed(machine, arrives(9001, "y", model="m", path="/v1/chat"), now)
    assert letter(route.endpoints[-1]) == "a", "it may still end the list of fallbacks"
