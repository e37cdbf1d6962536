"""One endpoint's books: what requests and scrapes do to its sums."""

import hypothesis.strategies as st
import pytest
from hypothesis import given
from tests.unit.picker.picker_builders import an_endpoint, booking

from headgate.model.load import Load
from headgate.model.objects.flow import DetectorSpec
from headgate.picker.concerns import Concerns
from headgate.picker.member import Member
from headgate.picker.settings import AdmissionSettings, HealthSettings
from headgate.picker.tracked import Booking

LIMITS = AdmissionSettings()


@pytest.fixture
def member() -> Member:
    return Member(an_endpoint("a"), 0, HealthSettings(), Concerns())


def book(member: Member, stream: int, now: float = 0.0, own: int = 100, **fields: object) -> Booking:
    """One of *own* uncached tokens and twice the context, expected to answer after 100 ms."""
    made = booking(stream, own_tokens=own, context_tokens=2 * own, predicted_s=0.1, **fields)
    member.book(made, now)
    member.check()
    return made


def load(waiting: int = 0, running: int = 0, progress: float | None = None) -> Load:
    return Load("vllm", waiting, running, progress=progress)


def sums(member: Member) -> tuple[int, int, int]:
    state = member.state
    return state.in_flight, state.pending_tokens, state.context_tokens


def test_a_request_weighs_from_its_decision_to_its_end(member: Member) -> None:
    first, second = book(member, 1), book(member, 2, own=50)
    assert sums(member) == (2, 150, 300)
    member.signed(first, 0.2)
    member.signed(first, 0.3)  # saying it twice releases nothing twice
    assert sums(member) == (2, 50, 300)
    member.release(first)
    member.release(second)
    member.check()
    assert sums(member) == (0, 0, 0)
    assert not member.bookings.held and not member.bookings.awaited


def test_newer_numbers_are_wanted_where_they_may_change_something(member: Member) -> None:
    assert not member.needs_watching(0.0)
    one = book(member, 1)
    assert not member.needs_watching(0.09)
    assert member.needs_watching(0.11)  # it was predicted to have answered
    member.signed(one, 0.2)
    assert not member.needs_watching(5.0)
    member.scraped(load(waiting=1), 5.0, 0.0, 0.0)
    assert member.needs_watching(5.0)
    member.scraped(load(running=9), 5.5, 0.0, 0.0)
    assert not member.needs_watching(5.5)
    member.health.failed(6.0, "refused")
    assert member.needs_watching(6.0)


def test_what_an_engine_reports_beyond_ours_is_extra(member: Member) -> None:
    book(member, 1)
    member.scraped(load(waiting=3, running=2), 1.0, mean_own=10.0, mean_context=100.0)
    state = member.state
    assert (state.extra_requests, state.extra_pending_tokens, state.extra_context_tokens) == (4, 30, 400)
    member.forget_scrape()
    assert (state.load, state.extra_requests, state.extra_context_tokens) == (None, 0, 0)


def test_requests_that_ended_between_two_scrapes_are_not_somebody_elses(member: Member) -> None:
    member.release(book(member, 1))
    member.scraped(load(running=1), 1.0, 10.0, 100.0)  # the engine may not have noticed the end yet
    assert member.state.extra_requests == 0
    member.scraped(load(running=1), 2.0, 10.0, 100.0)
    assert member.state.extra_requests == 1


def test_progress_that_goes_backwards_is_a_restart(member: Member) -> None:
    assert not member.scraped(load(progress=50.0), 1.0, 0.0, 0.0)
    assert not member.scraped(load(progress=60.0), 2.0, 0.0, 0.0)
    assert member.scraped(load(progress=1.0), 3.0, 0.0, 0.0)


def test_the_queue_is_what_was_scraped_and_what_came_since(member: Member) -> None:
    member.scraped(load(waiting=4, running=8), 1.0, 0.0, 0.0)
    assert member.waiting(LIMITS) == 4
    book(member, 1, 1.1)
    assert member.waiting(LIMITS) == 5
    member.scraped(load(waiting=0, running=8), 2.0, 0.0, 0.0)
    assert member.waiting(LIMITS) == 0


def test_without_a_reported_queue_whoever_passes_the_seats_is_guessed_to_wait(member: Member) -> None:
    member.scraped(load(waiting=1, running=2), 1.0, 0.0, 0.0)  # it was full at two
    member.scraped(load(waiting=0, running=2), 2.0, 0.0, 0.0)
    for stream in range(40):
        book(member, stream, 2.1, own=1)
    assert member.waiting(LIMITS) == 2 * LIMITS.waiting_limit, "a guess is bounded"


@given(
    scrapes=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=8), sent=st.integers(0, 30)
)
def test_seats_are_the_most_that_was_ever_seen_to_run(scrapes: list[tuple[int, int]], sent: int) -> None:
    member = Member(an_endpoint("a"), 0, HealthSettings(), Concerns())
    for at, (waiting, running) in enumerate([*scrapes, (1, 0), (0, 0)]):
        member.scraped(load(waiting, running), float(at), 0.0, 0.0)
    for stream in range(sent):
        book(member, stream, 20.0, own=1)
    seats = max((running for _, running in scrapes), default=0)
    assert member.waiting(LIMITS) == min(max(0, sent - seats), 2 * LIMITS.waiting_limit)


def test_prompts_of_more_than_a_step_wait(member: Member) -> None:
    for stream in range(4):
        book(member, stream, own=LIMITS.step_tokens // 2)
    assert member.waiting(LIMITS) == pytest.approx(2.0)


def test_only_a_suspicion_that_proved_wrong_makes_patient(member: Member) -> None:
    member.signed(book(member, 1, 0.0), 1.0)
    assert member.liveness.lateness == 1.0
    late = book(member, 2, 2.0)
    member.health.hanging(2.9, "no sign of life")
    member.signed(late, 3.0)
    assert member.liveness.lateness == pytest.approx(1 + 0.5 * 9)


def test_long_answers_in_time_make_impatient_again_and_short_ones_teach_nothing(member: Member) -> None:
    member.liveness.lateness = 5.0
    member.signed(book(member, 1, 0.0), 0.1)
    assert member.liveness.lateness == 5.0
    long = book(member, 2, 1.0)
    long.predicted_s = 2.0
    member.signed(long, 3.0)
    assert member.liveness.lateness == pytest.approx(5 - 0.05 * 4)


def test_an_unseen_answer_is_never_awaited(member: Member) -> None:
    book(member, 1, silent=True)
    assert member.bookings.held and not member.bookings.awaited
    assert member.overdue(1000.0) is None


def test_what_metrics_said_does_not_outlive_the_detector_that_asked_them() -> None:
    member = Member(an_endpoint("a"), 0, HealthSettings(), Concerns(), fills=True)
    member.detect(DetectorSpec(type="Utilization"))
    member.scraped(Load("vllm", 0, 0, kv_used=0.4), 0.0, 0.0, 0.0)
    assert member.state.pressure == 0.5
    member.detect(DetectorSpec())
    assert member.state.pressure == 0.0
    member.check()
