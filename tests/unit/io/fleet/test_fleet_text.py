"""Prompts to tokens and pseudo-words."""

import statistics

from headgate.io.fleet.text import WORDS, answer_length, answer_text, chat_tokens, id_tokens, text_tokens
from headgate.sim.tokens import count


def test_every_word_is_one_token() -> None:
    assert len(WORDS) == 256
    assert {len(word.encode()) for word in WORDS} == {4}


def test_answers_are_deterministic_and_as_long_as_asked() -> None:
    answer = answer_text(b"k", 50)
    assert answer == answer_text(b"k", 80)[:200]
    assert len(answer) == 200
    assert answer != answer_text(b"l", 50)


def test_answer_lengths_spread_around_their_median() -> None:
    lengths = [answer_length(str(number).encode(), 150) for number in range(2_000)]
    assert 140 < statistics.median(lengths) < 160
    assert min(lengths) >= 1
    assert max(lengths) > 1_000


def test_the_next_turn_begins_with_this_one_and_its_answer() -> None:
    first = chat_tokens([("system", "Be kind."), ("user", "What is a gate?")])
    answer = answer_text(first, 20)
    second = chat_tokens(
        [("system", "Be kind."), ("user", "What is a gate?"), ("assistant", answer), ("user", "And a head?")]
    )
    assert second.startswith(first + answer.encode())


def test_roles_and_borders_count() -> None:
    assert chat_tokens([("user", "ab")]) != chat_tokens([("system", "ab")])
    assert chat_tokens([("user", "ab"), ("user", "c")]) != chat_tokens([("user", "abc")])


def test_token_ids_are_tokens() -> None:
    assert count(id_tokens([1, 2, 100_000])) == 3
    assert id_tokens([1, 2]) == id_tokens([1, 2, 3])[:8]


def test_an_empty_prompt_has_a_token() -> None:
    assert count(text_tokens("")) == 1
