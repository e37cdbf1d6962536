"""The requests in the pool's hands, from decision to end."""

import math

import pytest
from tests.unit.picker.picker_builders import (
    address,
    an_endpoint,
    arrives,
    blocks,
    ends,
    starts,
    token,
    tracking,
)

from headgate.model.ids import StreamId
from headgate.model.requests import LOST_TOO_LONG, Usage
from headgate.picker.fleet import Fleet
from headgate.picker.ledger import Ledger
from headgate.picker.member import Member
from headgate.picker.settings import MachineSettings
from headgate.picker.tracked import Tracked

PROMPT = blocks("abcd")


@pytest.fixture
def ledger() -> Ledger:
    fleet = Fleet(MachineSettings())
    fleet.change([an_endpoint(name) for name in "ab"], 0.0, serving=False)
    return Ledger(fleet)


def member(ledger: Ledger, name: str) -> Member:
    found = ledger._fleet.find(address(name))
    assert found is not None
    return found


def book(ledger: Ledger, stream: int, name: str = "a", now: float = 0.0, **fields: object) -> Tracked:
    """A request of 100 prompt tokens, 40 of them cached there, expected to answer after half a second."""
    arrived = arrives(stream, "", **fields)
    tracked = tracking(
        arrived,
        now,
        blocks=PROMPT,
        prompt_tokens=100,
        matched_tokens=40,
        own_tokens=60,
        context_tokens=100,
        predicted_s=0.5,
    )
    ledger.book(tracked, member(ledger, name), now)
    ledger.check()
    return tracked


def test_a_streamed_request_releases_its_prompt_at_the_first_token_and_all_at_the_end(ledger: Ledger) -> None:
    book(ledger, 1)
    ledger.release_due(10.0)
    assert member(ledger, "a").state.pending_tokens == 60, "a first token will tell"
    ledger.response_started(starts(1), 10.1)
    ledger.first_token(token(1), 10.2)
    assert member(ledger, "a").state.pending_tokens == 0
    (told,) = ledger.ended(ends(1), 12.0)
    assert (told.outcome.ending, told.outcome.ttft_s, told.outcome.duration_s) == ("complete", 10.2, 12.0)
    assert told.outcome.served == address("a")
    ledger.check()
    assert not ledger.requests


def test_a_plain_answer_releases_its_prompt_when_predicted(ledger: Ledger) -> None:
    book(ledger, 1, streaming=False)
    ledger.release_due(0.4)
    assert member(ledger, "a").state.pending_tokens == 60
    ledger.release_due(0.5)
    assert member(ledger, "a").state.pending_tokens == 0
    assert member(ledger, "a").state.in_flight == 1


def test_the_books_move_to_who_really_served(ledger: Ledger) -> None:
    book(ledger, 1, "a")
    ledger.response_started(starts(1, served="b"), 0.2)
    ledger.check()
    assert [member(ledger, name).state.in_flight for name in "ab"] == [0, 1]
    assert ledger._fleet.index.match(PROMPT)[member(ledger, "b").state.slot] == len(PROMPT) // 8
    (told,) = ledger.ended(ends(1), 1.0)
    assert told.outcome.served == address("b")


def test_a_stranger_named_as_server_moves_nothing(ledger: Ledger) -> None:
    book(ledger, 1, "a")
    ledger.response_started(starts(1, served="z"), 0.2)
    assert member(ledger, "a").state.in_flight == 1


def test_unknown_streams_and_second_ends_say_nothing(ledger: Ledger) -> None:
    book(ledger, 1)
    assert ledger.ended(ends(7), 1.0) == []
    ledger.response_started(starts(7), 1.0)
    ledger.first_token(token(7), 1.0)
    assert len(ledger.ended(ends(1, "aborted", None), 1.0)) == 1
    assert ledger.ended(ends(1), 2.0) == []
    ledger.check()


def test_requests_nobody_ends_are_given_up_in_order(ledger: Ledger) -> None:
    for stream in (1, 2, 3):
        book(ledger, stream, now=float(stream))
    lost = ledger.expire(sent_before=3.0, now=100.0, details=LOST_TOO_LONG)
    assert [(each.stream, each.outcome.ending) for each in lost] == [(1, "lost"), (2, "lost")]
    assert list(ledger.requests) == [StreamId(3)]
    ledger.check()


def test_what_was_held_against_the_endpoint_meanwhile_is_in_the_outcome(ledger: Ledger) -> None:
    for stream in (1, 2, 3):
        book(ledger, stream, streaming=True)
    a = member(ledger, "a")
    a.health.hanging(2.0, "no sign of life for 2.0 s")
    a.note_trouble(2.0)
    a.health.alive(2.5)  # signs of life come before the answer
    book(ledger, 4, now=2.6)
    (aborted,) = ledger.ended(ends(1, "aborted", None), 3.0)
    ledger.response_started(starts(2, served="b"), 3.0)
    (rescued,) = ledger.ended(ends(2, served="b"), 4.0)
    (late,) = ledger.ended(ends(4), 4.0)
    hang = "suspect: no sign of life for 2.0 s"
    assert [each.outcome.trouble for each in (aborted, rescued, late)] == [hang, hang, None]
    assert ledger.expire(9.0, 9.0, LOST_TOO_LONG)[0].outcome.details == LOST_TOO_LONG


def test_hit_rates_are_believed_and_reported(ledger: Ledger) -> None:
    assert (ledger.hit_rate, ledger.reported_hit_rate) == (0.0, None)
    book(ledger, 1)
    assert ledger.hit_rate == pytest.approx(0.4)
    ledger.response_started(starts(1), 0.2)
    ledger.ended(ends(1, usage=Usage(200, 5, cached_tokens=50)), 1.0)
    assert ledger.reported_hit_rate == pytest.approx(0.25)


@pytest.mark.parametrize(("ending", "status"), [("complete", 500), ("failed", 200), ("aborted", 200)])
def test_only_a_whole_good_answer_teaches_what_a_token_is(ledger: Ledger, ending: str, status: int) -> None:
    book(ledger, 1, prompt_bytes=4000)
    before = ledger.estimator.of("m").bytes_per_token
    ledger.response_started(starts(1, status), 0.2)
    ledger.ended(ends(1, ending, status, Usage(3000, 5)), 1.0)  # type: ignore[arg-type]
    assert ledger.estimator.of("m").bytes_per_token == before
    book(ledger, 2, prompt_bytes=4000)
    ledger.response_started(starts(2), 1.2)
    ledger.ended(ends(2, usage=Usage(3000, 5)), 2.0)
    assert ledger.estimator.of("m").bytes_per_token < before


def test_the_last_request_of_a_leaving_endpoint_takes_it_along(ledger: Ledger) -> None:
    book(ledger, 1, "b")
    ledger._fleet.change([an_endpoint("a")], 1.0, serving=True)
    assert ledger._fleet.leaving
    ledger.ended(ends(1), 2.0)
    assert not ledger._fleet.leaving
    ledger.check()
    ledger._fleet.check()


def streamed(ledger: Ledger, stream: int, name: str, tokens: int, took_s: float, **fields: object) -> None:
    """An answer of so many tokens whose later ones took so long together."""
    book(ledger, stream, name, 0.0, **fields)
    ledger.first_token(token(stream), 1.0)
    usage = Usage(100, tokens) if tokens else None
    ledger.ended(ends(stream, usage=usage), 1.0 + took_s)


def test_an_answer_teaches_the_time_per_later_token(ledger: Ledger) -> None:
    one = member(ledger, "a")
    streamed(ledger, 1, "a", tokens=101, took_s=100 * 3 * (6.5e-3 + 20e-6 + 49e-9 * 100))
    assert one.pace.answers == 1
    assert one.pace.log == pytest.approx(math.log(3))
    assert ledger._fleet.paces_moved


def test_the_step_is_the_mean_of_those_at_first_token_and_end(ledger: Ledger) -> None:
    book(ledger, 1, "a")
    ledger.first_token(token(1), 1.0)
    book(ledger, 2, "a")
    steps = [6.5e-3 + 20e-6 * n + 49e-9 * 100 * n for n in (1, 2)]
    ledger.ended(ends(1, usage=Usage(100, 17)), 1.0 + 16 * sum(steps) / 2)
    assert member(ledger, "a").pace.log == pytest.approx(0.0)
    assert member(ledger, "a").pace.answers == 1


def test_only_whole_streamed_answers_of_enough_tokens_teach(ledger: Ledger) -> None:
    streamed(ledger, 1, "a", tokens=15, took_s=1.0)
    streamed(ledger, 2, "a", tokens=0, took_s=1.0)
    streamed(ledger, 3, "a", tokens=50, took_s=1.0, streaming=False)
    book(ledger, 4, "a")
    ledger.ended(ends(4, usage=Usage(100, 50)), 2.0)  # no first token was seen
    book(ledger, 5, "a")
    ledger.first_token(token(5), 1.0)
    ledger.ended(ends(5, "aborted", usage=Usage(100, 50)), 2.0)
    book(ledger, 6, "a")
    ledger.first_token(token(6), 1.0)
    ledger.ended(ends(6, status=500, usage=Usage(100, 50)), 2.0)
    assert member(ledger, "a").pace.answers == 0


def test_sharers_are_those_in_flight_behind_a_prefix(ledger: Ledger) -> None:
    def share(stream: int, prefix: bytes) -> None:
        tracked = tracking(arrives(stream), prefix=prefix)
        ledger.book(tracked, member(ledger, "a"), 0.0)

    for stream, prefix in (1, b"hot"), (2, b"hot"), (3, b"cold"), (4, b""):
        share(stream, prefix)
        ledger.check()
    assert ledger.sharers == {b"hot": 2, b"cold": 1}
    ledger.response_started(starts(1, served="b"), 0.5)  # elsewhere, but still in flight
    assert ledger.sharers == {b"hot": 2, b"cold": 1}
    for _ in range(2):
        ledger.ended(ends(1), 1.0)
        assert ledger.sharers == {b"hot": 1, b"cold": 1}
    ledger.ended(ends(4), 1.0)
    ledger.expire(9.0, 9.0, LOST_TOO_LONG)
    assert ledger.sharers == {}
