"""Whoever goes without a look at the pool's load would go after a look, too."""

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, event, given, settings
from tests.unit.picker.picker_builders import an_endpoint, booking

from headgate.model.load import Load
from headgate.picker.admission import Go, goes_anyway, saturation, verdict
from headgate.picker.concerns import Concerns
from headgate.picker.member import Member
from headgate.picker.settings import AdmissionSettings, HealthSettings
from headgate.scheduling.api import DOWN, FINE

limits = st.builds(
    AdmissionSettings,
    waiting_limit=st.sampled_from([0.5, 1.0, 5.0, 7.3]),
    kv_limit=st.sampled_from([0.2, 0.3, 0.5, 0.95, 1.0]),
    refuse_negative_from=st.floats(0.1, 6.0),
    refuse_zero_from=st.floats(0.1, 6.0),
    step_tokens=st.sampled_from([16, 8192]),
)
loads = st.builds(
    Load,
    st.just("vllm"),
    st.sampled_from([0, 0, 0, 1, 40]),
    st.integers(0, 9),
    kv_used=st.none() | st.floats(0, 1),
)
deeds = st.one_of(
    st.tuples(st.just("scrape"), loads),
    st.tuples(st.just("send"), st.tuples(st.integers(1, 30), st.sampled_from([0, 20, 4096, 100_000]))),
    st.tuples(st.just("forget"), st.none()),
    st.tuples(st.just("end"), st.integers(1, 10)),
)
stories = st.tuples(st.integers(FINE, DOWN), st.lists(deeds, max_size=6))


def a_member(concerns: Concerns, story: tuple[int, list[tuple[str, Any]]]) -> Member:
    """A member after some scrapes and requests."""
    severity, done = story
    member = Member(an_endpoint("a"), 0, HealthSettings(), concerns)
    for number, (deed, what) in enumerate(done):
        if deed == "scrape":
            member.scraped(what, float(number), 0.0, 0.0)
        elif deed == "send":
            count, tokens = what
            for each in range(count):
                member.book(booking(1000 * number + each, own_tokens=tokens), float(number))
        elif deed == "forget":
            member.forget_scrape()
        else:
            for booked in list(member.bookings.held.values())[:what]:
                member.release(booked)
    member.state.severity = severity
    member.check()
    return member


@settings(max_examples=400)
@given(
    told=st.lists(stories, max_size=3),
    settings=limits,
    priority=st.none() | st.integers(-1, 1),
    wait_s=st.floats(0, 60),
)
def test_nobody_goes_who_would_be_refused(
    told: list[tuple[int, list[tuple[str, Any]]]],
    settings: AdmissionSettings,
    priority: int | None,
    wait_s: float,
) -> None:
    concerns = Concerns()
    members = [a_member(concerns, story) for story in told]
    states = [member.state for member in members]
    assert concerns.queueing == {state for state in states if state.load is not None and state.load.waiting}
    assume(goes_anyway(priority, bool(concerns.queueing), settings))
    full = saturation(members, settings)
    event("saturated" if full >= 1 else "not saturated")
    assert isinstance(verdict(priority, full, wait_s, settings), Go), full


@pytest.mark.parametrize(
    ("priority", "queueing", "goes"),
    [
        (None, True, True),
        (1, True, True),
        (0, False, True),
        (0, True, False),
        (-1, False, False),
        (-1, True, False),
    ],
)
def test_with_the_usual_settings_only_queues_and_the_least_important_need_a_look(
    priority: int | None, queueing: bool, goes: bool
) -> None:
    assert goes_anyway(priority, queueing, AdmissionSettings()) is goes
