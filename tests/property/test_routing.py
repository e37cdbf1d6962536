"""What the default policy is worth against the others, on simulated engines under virtual time."""

import random
import statistics
from collections import Counter

import msgspec
import pytest
from tests.simulation import ENGINE, Answer, Simulation, slower, text

from headgate.flow.settings import FlowSettings
from headgate.scheduling.profiles import PROFILES

SMALL = msgspec.structs.replace(ENGINE, kv_tokens=60_000, max_seqs=16)
OTHERS = sorted(PROFILES.keys() - {"default"})


def served(answers: list[Answer]) -> list[Answer]:
    return [answer for answer in answers if answer.ended_at is not None]


def refused(answers: list[Answer]) -> int:
    return sum(answer.endpoint is None for answer in answers)


def behind_one_prefix(policy: str, clients: int, flow: FlowSettings | None = None) -> list[Answer]:
    """Four replicas whose caches are full of other prompts; then everybody asks behind one that is cached."""
    rng = random.Random(7)
    simulation = Simulation(policy, [SMALL] * 4, flow=flow)
    for number in range(192):
        simulation.at(0.05 * number, lambda: simulation.ask(text(rng, 2560), 16))
    prefix = text(rng, 1536)
    simulation.at(30.0, lambda: simulation.ask(prefix, 16))
    simulation.run(40.0)
    assert len(served(simulation.answers)) == 193
    before = len(simulation.answers)

    def client() -> None:
        simulation.ask(prefix + text(rng, 16), 100, client)

    for _ in range(clients):
        client()
    simulation.run(50.0)
    return simulation.answers[before:]


@pytest.mark.parametrize("clients", [60, 100])
def test_a_hot_prefix_spreads_over_the_fleet(clients: int) -> None:
    answers = behind_one_prefix("default", clients)
    done = served(answers)
    assert refused(answers) == 0
    best = max(len(served(behind_one_prefix(policy, clients))) for policy in OTHERS)
    assert len(done) >= 0.95 * best
    assert sum(answer.good for answer in done) >= 0.99 * len(done)
    shares = Counter(answer.endpoint for answer in done)
    assert min(shares.values()) >= 0.2 * len(done), "a quarter each, nearly"


@pytest.mark.parametrize(("clients", "kept"), [(60, 0.99), (100, 0.98)])
def test_flow_control_costs_a_hot_prefix_neither_time_nor_goodput(clients: int, kept: float) -> None:
    """Four replicas of 16 seats: with 60 clients nobody waits; with 100 a third does, in the picker, from which
    a free seat is filled a little later than from an engine's own queue."""
    without = served(behind_one_prefix("default", clients))
    with_flow = served(behind_one_prefix("default", clients, FlowSettings()))
    assert len(with_flow) >= kept * len(without)
    assert sum(answer.good for answer in with_flow) >= kept * sum(answer.good for answer in without)
    assert median_ttft_s(with_flow) <= 1.01 * median_ttft_s(without)


def median_ttft_s(answers: list[Answer]) -> float:
    return statistics.median(each.first_at - each.asked_at for each in answers if each.first_at is not None)


def chat_on_a_mixed_fleet(policy: str, factor: float) -> tuple[Simulation, list[Answer]]:
    """Conversations on eight replicas, the last four *factor* times slower; the answers of 25 s of them."""
    rng = random.Random(11)
    simulation = Simulation(policy, [ENGINE] * 4 + [slower(ENGINE, factor)] * 4)
    systems = [text(rng, 512) for _ in range(4)]

    def converse(history: bytes, turns: int) -> None:
        prompt = history + text(rng, 160)
        tokens = max(16, int(rng.lognormvariate(5.0, 0.6)))

        def go_on() -> None:
            if turns > 1:
                then = simulation.now + rng.uniform(1.0, 3.0)
                simulation.at(then, lambda: converse(prompt + text(rng, tokens), turns - 1))

        simulation.ask(prompt, tokens, go_on)

    at = 0.0
    while (at := at + rng.expovariate(50.0)) < 45.0:
        simulation.at(at, lambda: converse(rng.choice(systems), rng.randint(2, 5)))
    simulation.run(45.0)
    return simulation, [answer for answer in simulation.answers if 5.0 < answer.asked_at < 30.0]


def test_the_slow_half_of_a_fleet_gets_less_work_and_nobody_suffers() -> None:
    simulation, answers = chat_on_a_mixed_fleet("default", 4.0)
    good = sum(answer.good for answer in answers) / len(answers)
    assert good > 0.97
    _, others = chat_on_a_mixed_fleet("least-requests", 4.0)
    assert good > 1.1 * sum(answer.good for answer in others) / len(others)
    assert len(served(answers)) > len(served(others))
    endpoints = simulation.view().endpoints
    for fast, slow in zip(endpoints[:4], endpoints[4:], strict=True):
        assert fast.pace == 1.0
        assert 2.0 < slow.pace < 4.5, "what exceeds a quarter more"
    sent = Counter(answer.endpoint for answer in answers)
    slow_share = sum(sent[one.endpoint] for one in endpoints[4:]) / len(answers)
    assert 0.0 < slow_share < 0.2


def test_on_an_even_fleet_pace_changes_nothing() -> None:
    simulation, answers = chat_on_a_mixed_fleet("default", 1.0)
    assert [one.pace for one in simulation.view().endpoints] == [1.0] * 8
    assert sum(answer.good for answer in answers) > 0.97 * len(answers)


def test_who_finds_no_seat_waits_as_without_a_gateway() -> None:
    simulation = Simulation("default", [msgspec.structs.replace(ENGINE, max_seqs=4)])
    rng = random.Random(3)

    def client(left: int) -> None:
        if left:
            simulation.ask(text(rng, 64), 20, lambda: client(left - 1))

    for _ in range(60):
        client(4)
    simulation.run(60.0)
    assert len(served(simulation.answers)) == len(simulation.answers) == 240
