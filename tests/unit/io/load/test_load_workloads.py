"""Plans: reproducible, of the asked rate and shape."""

import itertools
import statistics

import pytest

from headgate.io.load.workloads import WORD_BYTES, WORKLOADS, Bursts, Plan, Spread, Workload, make_plan


def plan(
    name: str, *, rate: float = 20.0, duration_s: float = 60.0, seed: int = 0, speed: float = 1.0
) -> Plan:
    return make_plan(WORKLOADS[name], rate=rate, duration_s=duration_s, seed=seed, speed=speed)


@pytest.mark.parametrize("name", WORKLOADS)
def test_equal_seeds_make_equal_plans(name: str) -> None:
    one, again, other = (plan(name, duration_s=5, seed=seed) for seed in (1, 1, 2))
    assert one == again
    assert one != other


@pytest.mark.parametrize("name", WORKLOADS)
def test_arrivals_are_in_order_and_of_the_rate(name: str) -> None:
    made = plan(name, rate=10.0, duration_s=400.0) if name == "bursty" else plan(name)
    times = [conversation.at_s for conversation in made.conversations]
    assert times == sorted(times)
    assert times[-1] < made.duration_s
    assert made.requests == pytest.approx(10 * 400 if name == "bursty" else 20 * 60, rel=0.25)


def test_prompts_are_as_long_as_asked() -> None:
    made = plan("shared-prefix")
    shape = WORKLOADS["shared-prefix"]
    assert {len(conversation.system) for conversation in made.conversations} == {
        shape.system_tokens * WORD_BYTES
    }
    questions = [len(conversation.turns[0].question) / WORD_BYTES for conversation in made.conversations]
    assert statistics.mean(questions) == pytest.approx(shape.question_tokens.mean, rel=0.1)
    answers = [conversation.turns[0].max_tokens for conversation in made.conversations]
    assert statistics.mean(answers) == pytest.approx(shape.answer_tokens.mean, rel=0.1)


def test_groups_share_system_prompts_and_unique_shares_nothing() -> None:
    shared = {conversation.system for conversation in plan("shared-prefix").conversations}
    assert len(shared) == WORKLOADS["shared-prefix"].groups
    questions = [
        conversation.turns[0].question[:40] for conversation in plan("unique", duration_s=5).conversations
    ]
    assert len(set(questions)) == len(questions)


def test_popular_groups_come_more_often() -> None:
    systems = [conversation.system for conversation in plan("bursty", rate=50, duration_s=20).conversations]
    counts = sorted((systems.count(system) for system in set(systems)), reverse=True)
    assert counts[0] > 3 * counts[-1]


def test_turns_think_and_the_first_does_not() -> None:
    shape = WORKLOADS["multi-turn"]
    for conversation in plan("multi-turn", duration_s=10).conversations:
        assert shape.turns[0] <= len(conversation.turns) <= shape.turns[1]
        assert conversation.turns[0].think_s == 0
        assert all(turn.think_s > 0 for turn in conversation.turns[1:])


def test_speed_compresses_time_and_nothing_else() -> None:
    slow, fast = plan("multi-turn", duration_s=10), plan("multi-turn", duration_s=10, speed=4)
    assert fast.duration_s == slow.duration_s / 4
    for one, other in zip(slow.conversations, fast.conversations, strict=True):
        assert other.at_s == pytest.approx(one.at_s / 4)
        assert [turn.question for turn in other.turns] == [turn.question for turn in one.turns]
        assert [turn.think_s * 4 for turn in other.turns] == pytest.approx(
            [turn.think_s for turn in one.turns]
        )


def test_bursts_are_burstier_than_poisson() -> None:
    def dispersion(name: str) -> float:
        counts = [0] * 300
        for conversation in plan(name, rate=20, duration_s=300).conversations:
            counts[int(conversation.at_s)] += 1
        return statistics.variance(counts) / statistics.mean(counts)

    assert dispersion("unique") == pytest.approx(1.0, abs=0.35)
    assert dispersion("bursty") > 5


def test_mean_prompt_counts_the_history() -> None:
    shape = Workload(
        name="x",
        about="",
        groups=1,
        system_tokens=100,
        question_tokens=Spread(50),
        answer_tokens=Spread(10),
        turns=(3, 3),
    )
    assert shape.prompt_tokens == 100 + statistics.mean([50, 50 + 60, 50 + 120])
    assert shape.mean_turns == 3


@pytest.mark.parametrize(("rate", "duration_s", "speed"), [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_nonsense_is_refused(rate: float, duration_s: float, speed: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        make_plan(WORKLOADS["unique"], rate=rate, duration_s=duration_s, speed=speed)


def test_a_constant_spread_and_bursts_are_values() -> None:
    assert Spread(5.0) == Spread(5.0, 0.0)
    assert Bursts(2.0, 1.0, 3.0) != Bursts(2.0, 1.0, 4.0)
    assert all(shape.name == name for name, shape in WORKLOADS.items())
    assert not any(a.about == b.about for a, b in itertools.combinations(WORKLOADS.values(), 2))


def test_a_hot_prefix_comes_after_fillers_that_share_nothing() -> None:
    made, shape = plan("hot-prefix", duration_s=5), WORKLOADS["hot-prefix"]
    assert len({conversation.system for conversation in made.conversations}) == 1
    assert len({filler[:40] for filler in made.fillers}) == shape.fillers == 192
    assert {len(filler) for filler in made.fillers} == {shape.filler_tokens * WORD_BYTES}
    assert plan("unique", duration_s=5).fillers == ()
