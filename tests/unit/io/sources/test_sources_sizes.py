"""What a text would become is what it becomes, and it is known before."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headgate.io.sources import sizes
from headgate.io.sources.sizes import Sizes, TooMuchError
from headgate.io.sources.text import Document, read_documents

WORDS = st.sampled_from(["x", "yy", "three words here", "", "1"])


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, bool]:
    """A mapping whose values may repeat those before them; and whether it merges keys."""
    lines: list[str] = []
    merges = False
    for number in range(draw(st.integers(1, 7))):
        alias = st.sampled_from([f"*a{each}" for each in range(number)]) if number else WORDS.map(repr)
        parts = draw(st.lists(st.one_of(WORDS.map(repr), alias), max_size=5))
        if draw(st.booleans()):
            value = f"[{', '.join(parts)}]"
        else:
            fields = [f"k{index}: {part} " for index, part in enumerate(parts)]
            if number and draw(st.booleans()):
                fields.append(f"<<: {{k9: 1, k8: {draw(alias)} }}")
                merges = True
            value = f"{{{', '.join(fields)}}}"
        lines.append(f"a{number}: &a{number} {value}\n")
    return "".join(lines), merges


def made_of(text: str) -> Document:
    (document,) = read_documents(text.encode(), "f")
    assert isinstance(document, Document)
    return document


def counted(text: str) -> tuple[int, int]:
    """Values and characters."""
    found = Sizes()
    before = (sizes.MAX_VALUES, sizes.MAX_CHARACTERS)
    found.take_events(yaml.parse(text, Loader=yaml.CSafeLoader))
    return before[0] - found.values_left, before[1] - found.characters_left


@given(texts())
def test_as_many_values_as_are_counted_are_made(written: tuple[str, bool]) -> None:
    text, merges = written
    made = len(made_of(text).lines)
    values, characters = counted(text)
    assert made <= values if merges else made == values
    paths = sum(
        sum(len(part) + 1 if isinstance(part, str) else 2 for part in path) for path in made_of(text).lines
    )
    assert characters >= paths or merges


@pytest.mark.parametrize(
    ("bound", "text", "says"),
    [
        ("MAX_VALUES", "a: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]", "more than 10 values"),
        ("MAX_VALUES", "a: 1\n---\n" * 6, "more than 10 values"),
        ("MAX_ALIASED", "a: &a [1, 2]\nb: [*a, *a, *a, *a]", "repeat more than 10 values"),
        ("MAX_DEPTH", "a: &a [[[[[1]]]]]\nb: [[[[[*a]]]]]", "10 levels deep, aliases followed"),
        ("MAX_DEPTH", "[" * 11 + "]" * 11, "10 levels deep"),
    ],
)
def test_bounds(monkeypatch: pytest.MonkeyPatch, bound: str, text: str, says: str) -> None:
    monkeypatch.setattr(sizes, bound, 10)
    with pytest.raises(TooMuchError, match=says):
        Sizes().take_events(yaml.parse(text, Loader=yaml.CSafeLoader))


def test_what_stays_within_the_bounds_is_no_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_VALUES", 11)
    monkeypatch.setattr(sizes, "MAX_ALIASED", 6)
    monkeypatch.setattr(sizes, "MAX_DEPTH", 3)
    Sizes().take_events(yaml.parse("a: &a [1, 2]\nb: [*a, *a]", Loader=yaml.CSafeLoader))


def test_long_keys_count_for_every_field_below_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_CHARACTERS", 100_000)
    text = f"? {'k' * 2_000}\n: [{', '.join('x' * 60)}]"
    with pytest.raises(TooMuchError, match="of text"):
        Sizes().take_events(yaml.parse(text, Loader=yaml.CSafeLoader))
    with pytest.raises(TooMuchError, match="of text"):
        Sizes().take_data({"k" * 2_000: ["x"] * 60})


def test_texts_that_aliases_repeat_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "MAX_CHARACTERS", 100_000)
    text = f"a: &a {'x' * 10_000}\nb: [{', '.join(['*a'] * 10)}]"
    with pytest.raises(TooMuchError, match="of text"):
        Sizes().take_events(yaml.parse(text, Loader=yaml.CSafeLoader))


@pytest.mark.parametrize(
    ("bound", "data"),
    [("MAX_DEPTH", {"a": [[[[[[[[[[1]]]]]]]]]]}), ("MAX_VALUES", [[1, 2, 3], [4, 5, 6], [7, 8, 9]])],
)
def test_bounds_of_data(monkeypatch: pytest.MonkeyPatch, bound: str, data: object) -> None:
    monkeypatch.setattr(sizes, bound, 10)
    with pytest.raises(TooMuchError):
        Sizes().take_data(data)
