"""Costs, however they are found, are the weighted sum of what the scorers say; a record tells them truly."""

import random
from collections.abc import Sequence
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.choices import a_choice
from tests.unit.scheduling.scheduling_builders import a_state, an_ask

from headgate.model.decisions import Decision
from headgate.model.load import Load
from headgate.picker.choice import LONGEST
from headgate.scheduling.api import DOWN, FINE, Ask, EndpointState, Filter, Profile, Scorer
from headgate.scheduling.profiles import PROFILES, filter_types, scorer_types
from headgate.scheduling.scheduler import Scheduler

SLOTS = 5
tokens = st.integers(0, 200_000)
ONLY_UNWELL = [kind for kind in filter_types() if kind.only_unwell]
WITH_LINE = [kind for kind in scorer_types() if kind.line is not Scorer.line]
STILL = [kind for kind in scorer_types() if kind().start(random.Random(0)) == kind()]
"""Those without a memory or dice: they say the same twice."""

FIELDS = {
    "in_flight": st.integers(0, 500),
    "pending_tokens": tokens,
    "context_tokens": tokens,
    "extra_requests": st.integers(0, 50),
    "extra_pending_tokens": tokens,
    "extra_context_tokens": tokens,
    "fill": st.floats(0, 1),
    "severity": st.integers(FINE, DOWN),
    "ramp": st.sampled_from([0.1, 0.5, 1.0]),
    "full": st.booleans(),
    "pace": st.sampled_from([0.5, 1.0, 4.0]),
    "cold_turn": st.integers(0, 3),
    "adapters": st.sets(st.sampled_from("xyz")),
    "load": st.none()
    | st.builds(Load, st.just("vllm"), st.just(0), st.just(0), lora_limit=st.none() | st.just(2)),
    "scraped_at": st.none() | st.floats(0, 10),
}
fields = st.fixed_dictionaries({}, optional=FIELDS)
weights = st.sampled_from([0.0, 0.5, 1.0, 3.0])


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    prompt = draw(st.integers(1, 100_000))
    matched = draw(st.dictionaries(st.integers(0, SLOTS), st.integers(1, prompt), max_size=SLOTS))
    subset = draw(st.none() | st.lists(st.integers(1, SLOTS), min_size=1, max_size=3))
    adapter = draw(st.none() | st.sampled_from("xyz"))
    sharers = draw(st.sampled_from([0, 0, 1, 12, 1000]))
    return an_ask(
        prompt,
        matched,
        adapter,
        sharers,
        subset=None if subset is None else tuple(f"10.0.0.{ip}" for ip in subset),
    )


@st.composite
def scorers(draw: st.DrawFn) -> tuple[Scorer, ...]:
    kinds = draw(st.lists(st.sampled_from(STILL), min_size=1, max_size=4, unique=True))
    return tuple(kind(weight=draw(weights)) for kind in kinds)


def total(scorers: Sequence[Scorer], ask: Ask, state: EndpointState) -> float:
    """What the scorers say of one endpoint, asked one by one."""
    return sum(sum(scorer.weight * cost for cost in scorer.score(ask, [state])) for scorer in scorers)


def close(value: float) -> object:
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_there_are_plugins_of_both_kinds() -> None:
    assert {kind.__name__ for kind in WITH_LINE} == {
        "DecodePressure",
        "EvictionSurcharge",
        "LeastRequests",
        "PrefillWait",
    }
    others = {kind.__name__ for kind in STILL} - {kind.__name__ for kind in WITH_LINE}
    assert others == {"LoraLoad", "SessionAffinity"}
    assert {kind.__name__ for kind in ONLY_UNWELL} == {"HasRoom", "Healthy", "SlowStart"}


@pytest.mark.parametrize("kind", WITH_LINE, ids=lambda kind: kind.__name__)
@given(ask=asks(), state=fields)
def test_a_line_says_what_the_score_says(kind: type[Scorer], ask: Ask, state: dict[str, Any]) -> None:
    made = a_state(0, **state)
    scorer = kind(weight=7.0)
    base, slope, shared = scorer.line(made)
    own = ask.prompt_tokens - ask.matched.get(0, 0)
    cost = base + slope * own + shared * own / (1 + ask.sharers)
    assert scorer.score(ask, [made]) == [close(cost)], "and the weight is not in it"


@pytest.mark.parametrize("kind", ONLY_UNWELL, ids=lambda kind: kind.__name__)
@given(ask=asks(), states=st.lists(fields, min_size=1, max_size=SLOTS))
def test_filters_of_the_unwell_have_nothing_against_the_well(
    kind: type[Filter], ask: Ask, states: list[dict[str, Any]]
) -> None:
    well = [
        a_state(slot, **(each | {"severity": FINE, "ramp": 1.0, "full": False}))
        for slot, each in enumerate(states)
    ]
    assert kind().refuse(ask, well) == {}


@given(
    scorers=scorers(),
    filtered=st.booleans(),
    rounds=st.lists(
        st.tuples(asks(), st.dictionaries(st.integers(0, SLOTS - 1), fields)), min_size=1, max_size=4
    ),
)
def test_placements_follow_the_weighted_sum_while_endpoints_change(
    scorers: tuple[Scorer, ...], filtered: bool, rounds: list[tuple[Ask, dict[int, dict[str, Any]]]]
) -> None:
    filters = PROFILES["default"].filters if filtered else ()
    scheduler = Scheduler(Profile(name="p", filters=filters, scorers=scorers), random.Random(1))
    states = [a_state(slot) for slot in range(SLOTS)]
    records = []
    for ask, changes in rounds:
        for slot, change in changes.items():
            for name, value in change.items():
                setattr(states[slot], name, value)
            states[slot].seen = None
        placed = scheduler.schedule(ask, states)
        scheduler.check(states)
        records.append((placed, placed.candidates))
        assert [one.endpoint for one in placed.candidates] == [state.id for state in states]
        costs = {}
        for state, one in zip(states, placed.candidates, strict=True):
            assert (one.cost is None) == (one.filtered_by is not None)
            if one.cost is None:
                continue
            costs[state.id] = one.cost
            assert one.cost == close(total(scorers, ask, state))
            assert one.cost == close(sum(term.value for term in one.terms))
            for term in one.terms:
                (named,) = [each for each in scorers if each.__struct_config__.tag == term.name]
                assert term.value == close(total([named], ask, state))
        order = [costs[state.id] for state in placed.order if state.id in costs]
        assert [state.id in costs for state in placed.order] == sorted(
            (state.id in costs for state in placed.order), reverse=True
        ), "the refused stand last"
        assert order == close_list(sorted(costs.values())[: len(order)])
        if placed.pick is None:
            assert not placed.order
        else:
            assert placed.pick.endpoint == placed.order[0].id
            assert placed.cost == close(order[0])
    for placed, before in records:
        assert placed.candidates == before, "a record does not change when endpoints do"


def close_list(values: list[float]) -> object:
    return pytest.approx(values, rel=1e-9, abs=1e-12)


def described(decision: Decision) -> dict[str, str]:
    """What the header must say, from the record alone."""
    pick = next(one for one in decision.candidates if one.endpoint == decision.chosen[0])
    scored = sum(one.cost is not None for one in decision.candidates)
    told = {
        "prefix": f"{pick.matched_tokens}/{decision.prompt_tokens}",
        "in-flight": str(pick.in_flight),
        "fallbacks": str(len(decision.chosen) - 1),
    }
    if filtered := len(decision.candidates) - scored:
        told["filtered"] = str(filtered)
    if decision.priority:
        told["priority"] = str(decision.priority)
    if decision.waited_s:
        told["waited"] = f"{decision.waited_s:.3f}s"
    return told | {"cost": f"{pick.cost:.3g} of {scored}"}


@given(
    ask=asks(),
    states=st.lists(fields, min_size=SLOTS, max_size=SLOTS),
    policy=st.sampled_from(sorted(PROFILES)),
    name=st.text(),
    priority=st.integers(-3, 3),
    waited_s=st.sampled_from([0.0, 0.25, 12.0]),
)
def test_the_summary_tells_what_is_written(
    ask: Ask, states: list[dict[str, Any]], policy: str, name: str, priority: int, waited_s: float
) -> None:
    made = [a_state(slot, **each) for slot, each in enumerate(states)]
    placed = Scheduler(PROFILES[policy], random.Random(3)).schedule(ask, made)
    chosen = tuple(state.id for state in placed.order)
    choice = a_choice(chosen=chosen, placement=placed, policy="p", priority=priority, waited_s=waited_s)
    head, *parts = choice.summary().split("; ")
    told = dict(part.split("=") for part in parts)
    expected = described(choice.written())
    cost, wanted = told.pop("cost").split(" of "), expected.pop("cost").split(" of ")
    assert (head, told, cost[1]) == ("p", expected, wanted[1])
    assert float(cost[0]) == pytest.approx(float(wanted[0]), rel=0.01)
    text = a_choice(chosen=chosen, placement=placed, policy=name).summary()
    assert text.isascii()
    assert text.isprintable()
    assert len(text) <= LONGEST
