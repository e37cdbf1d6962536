"""Who is believed to queue between two scrapes."""

import pytest
from tests.unit.picker.picker_builders import booking

from headgate.model.load import Load
from headgate.picker.queue_guess import MOST_GUESSED, QueueGuess
from headgate.picker.settings import AdmissionSettings
from headgate.picker.tracked import Booking

LIMITS = AdmissionSettings()


def send(guess: QueueGuess, *tokens: int) -> list[Booking]:
    made = [booking(stream, own_tokens=each, pending=True) for stream, each in enumerate(tokens)]
    for each in made:
        guess.sent(each)
    guess.check(made)
    return made


def test_whoever_was_sent_since_the_scrape_stands_in_a_reported_queue_until_it_is_computed() -> None:
    guess, load = QueueGuess(), Load("vllm", 4, 8)
    guess.scraped(load, ())
    one, *others = send(guess, 5, 5)
    assert guess.waiting(load, 10, LIMITS) == 6
    guess.computed(one)
    guess.computed(one)
    one.pending = False
    guess.check([one, *others])
    assert guess.waiting(load, 10, LIMITS) == 5
    guess.scraped(load, [one, *others])
    guess.check([one, *others])
    assert guess.waiting(load, 10, LIMITS) == 4


def test_without_a_queue_seats_and_the_tokens_of_a_step_bound_the_guess() -> None:
    guess = QueueGuess()
    send(guess, *[1] * 9)
    assert guess.waiting(None, 9, LIMITS) == 0, "nobody knows its seats"
    guess.scraped(Load("vllm", 1, 2), ())
    send(guess, *[1] * 99)
    assert guess.waiting(None, 99, LIMITS) == MOST_GUESSED * LIMITS.waiting_limit
    other = QueueGuess()
    send(other, *[LIMITS.step_tokens // 2] * 4)
    assert other.waiting(None, 4, LIMITS) == pytest.approx(2.0)
