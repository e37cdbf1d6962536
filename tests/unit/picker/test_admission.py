"""Saturation and the verdict, as tables."""

import pytest
from tests.unit.picker.picker_builders import an_endpoint, booking

from headgate.model.load import Load
from headgate.picker.admission import Go, Refuse, saturation, verdict
from headgate.picker.concerns import Concerns
from headgate.picker.member import Member
from headgate.picker.settings import AdmissionSettings, HealthSettings
from headgate.scheduling.api import COOLING, DOWN, FINE, SUSPECT

SETTINGS = AdmissionSettings()


def a_member(severity: int = FINE, load: Load | None = None) -> Member:
    member = Member(an_endpoint("a"), 0, HealthSettings(), Concerns())
    if load is not None:
        member.scraped(load, 0.0, 0.0, 0.0)
    member.state.severity = severity
    return member


def send(member: Member, count: int, tokens: int) -> None:
    for _ in range(count):
        member.book(booking(len(member.bookings.held), own_tokens=tokens), 0.0)


def full(waiting: int, kv_used: float | None = None) -> Load:
    return Load("vllm", waiting, 4, kv_used=kv_used)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([], 0.0),
        ([a_member()], 0.0),
        ([a_member(load=full(5))], 1.0),
        ([a_member(load=full(50)), a_member(load=full(1)), a_member(load=full(40, 1.0))], 0.2),
        ([a_member(load=full(50)), a_member(load=full(0, 0.38))], 0.4),
        ([a_member(load=full(10)), a_member(load=full(15))], 2.0),
        ([a_member(load=full(0, 0.95))], 1.0),
        ([a_member(load=full(10, 0.95))], 2.0),
        ([a_member(COOLING, full(5)), a_member(SUSPECT, full(50)), a_member(DOWN, full(50))], 1.0),
        ([a_member(DOWN, full(50))], 0.0),
    ],
)
def test_saturation(members: list[Member], expected: float) -> None:
    assert saturation(members, SETTINGS) == pytest.approx(expected)


def test_requests_since_a_scrape_with_a_queue_stand_in_it() -> None:
    member = a_member(load=full(2))
    send(member, 8, 20)
    assert member.waiting(SETTINGS) == 10.0
    member.scraped(full(7), 0.2, 0.0, 0.0)
    assert member.waiting(SETTINGS) == 7.0


def test_many_small_requests_to_an_engine_of_unknown_size_do_not_saturate() -> None:
    for member in (a_member(), a_member(load=full(0))):
        send(member, 400, 20)
        assert member.waiting(SETTINGS) == 0.0


def test_known_seats_and_prompt_tokens_are_a_bounded_guess() -> None:
    member = a_member(load=full(3))
    member.scraped(full(0), 0.2, 0.0, 0.0)
    send(member, 6, 20)
    assert member.waiting(SETTINGS) == 6.0
    member = a_member()
    send(member, 4, 4096)
    assert member.waiting(SETTINGS) == pytest.approx(2.0)
    send(member, 400, 4096)
    assert member.waiting(SETTINGS) == 2 * SETTINGS.waiting_limit


@pytest.mark.parametrize(
    ("priority", "saturated", "goes"),
    [
        (-1, 0.99, True),
        (-1, 1.0, False),
        (0, 3.9, True),
        (0, 4.0, False),
        (1, 100.0, True),
        (None, 100.0, True),
    ],
)
def test_verdict(priority: int | None, saturated: float, goes: bool) -> None:
    assert isinstance(verdict(priority, saturated, 0.1, SETTINGS), Go if goes else Refuse)


@pytest.mark.parametrize(("wait_s", "retry"), [(0.01, 1), (7.2, 7), (900.0, 30)])
def test_a_refusal_says_when_to_come_back(wait_s: float, retry: int) -> None:
    refusal = verdict(-1, 2.5, wait_s, SETTINGS)
    assert isinstance(refusal, Refuse)
    assert refusal.retry_after_s == retry
    assert "2.50" in refusal.message
