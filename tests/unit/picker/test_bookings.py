"""What requests take of an endpoint, added up."""

import pytest
from tests.unit.picker.picker_builders import an_endpoint, booking

from headgate.picker.bookings import Bookings
from headgate.picker.concerns import Concerns
from headgate.scheduling.api import EndpointState


@pytest.fixture
def concerns() -> Concerns:
    return Concerns()


@pytest.fixture
def state() -> EndpointState:
    return EndpointState(an_endpoint("a"), 0)


@pytest.fixture
def books(state: EndpointState, concerns: Concerns) -> Bookings:
    return Bookings(state, concerns)


def sums(state: EndpointState) -> tuple[int, int, int]:
    return state.in_flight, state.pending_tokens, state.context_tokens


def test_sums_are_those_of_what_is_held(books: Bookings, state: EndpointState) -> None:
    one = booking(1, own_tokens=10, context_tokens=30)
    other = booking(2, own_tokens=5, context_tokens=6, role="decode")
    books.add(one)
    books.add(other)
    books.check()
    assert sums(state) == (2, 15, 36)
    books.computed(one)
    books.computed(one)  # said twice, it releases nothing twice
    assert sums(state) == (2, 5, 36)
    books.remove(one)
    books.remove(other)
    books.check()
    assert sums(state) == (0, 0, 0)


def test_a_first_sign_is_awaited_once_and_never_of_the_silent(books: Bookings, concerns: Concerns) -> None:
    one, silent = booking(1), booking(2, silent=True)
    books.add(silent)
    books.add(one)
    assert (books.oldest_awaited(), concerns.awaiting) == (one, 1)
    assert books.heard_of(one) and not books.heard_of(one)
    assert not books.heard_of(silent)
    assert (books.oldest_awaited(), concerns.awaiting) == (None, 0)


def test_what_ended_unheard_of_is_not_awaited_any_more(books: Bookings, concerns: Concerns) -> None:
    one = booking(1)
    books.add(one)
    books.remove(one)
    assert concerns.awaiting == 0
    books.check()


def test_the_peak_is_the_most_since_the_newest_scrape(books: Bookings) -> None:
    for stream in range(3):
        books.add(booking(stream))
    for stream in range(2):
        books.remove(books.held[stream])  # type: ignore[index]
    assert books.peak == 3
    books.scraped()
    assert books.peak == 1
