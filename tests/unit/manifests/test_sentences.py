"""Wrong values of any kind anywhere: a place, and a sentence without the decoder's own words."""

import copy
from functools import partial
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.golden.test_golden_check import CASES

from headgate.manifests.decode import decode
from headgate.manifests.sentences import placeholder, shown

VARIOUS: list[object] = [True, 5, [], {}, None]

SOUND: list[dict[str, Any]] = list(yaml.safe_load_all(CASES["sound"]))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of all values below *value*, itself left out."""
    inner = (
        list(value.items())
        if isinstance(value, dict)
        else list(enumerate(value))
        if isinstance(value, list)
        else []
    )
    return [found for key, each in inner for found in [(*path, key), *leaves(each, (*path, key))]]


PLACES = [(index, path) for index, each in enumerate(SOUND) for path in leaves(each)]
TEXT = partial(st.text, st.characters(exclude_characters="`"))
"""Without what messages of others are told by."""
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**9), 10**9),
    st.floats(allow_nan=False),
    TEXT(max_size=20),
    st.sampled_from(["", "80", "*", "a b", "http://x:80/y", "x" * 300, "1 min", "30"]),
    st.lists(st.integers() | TEXT(max_size=5), max_size=3),
    st.dictionaries(
        TEXT(max_size=5),
        st.integers() | TEXT(max_size=5),
        max_size=3,
    ),
)


@given(st.sampled_from(PLACES), VALUES)
def test_any_wrong_value_is_told_in_plain_words(place: tuple[int, tuple[Any, ...]], value: Any) -> None:
    index, path = place
    raw = copy.deepcopy(SOUND[index])
    holder = raw
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = value
    for problem in decode(raw, "f", lambda _: 1).problems:
        assert "regex" not in problem.message
        assert "expected" not in problem.message.lower()
        assert "`" not in problem.message.replace(str(value), "")
        assert len(problem.message) < 600
        assert problem.place.object


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("{{ .Values.a }}", "{{ .Values.a }}"),
        ("x-${NAME}-y", "${NAME}"),
        ("${NAME:-default}", "${NAME:-default}"),
        ("$(NAME)", "$(NAME)"),
        ("^/v1/(a|b){2}$", None),
        ("$NAME", "$NAME"),
        ("costs $5", None),
        ("a $NAME b", None),
        ("{{" * 1_000_000, None),
        ("${a" * 1_000_000, None),
        ("${}", None),
    ],
)
def test_placeholders(text: str, found: str | None) -> None:
    assert placeholder(text) == found


def test_annotations_may_hold_templates() -> None:
    raw = copy.deepcopy(SOUND[0])
    raw["metadata"]["annotations"] = {"note": "{{ x }}"}
    assert decode(raw, "f", lambda _: 1).problems == ()


def test_values_are_quoted_in_part() -> None:
    assert shown("x" * 500) == repr("x" * 80 + "…")
    assert [shown(each) for each in VARIOUS] == [
        "the truth value true",
        "the number 5",
        "a list",
        "a mapping",
        "nothing",
    ]


@pytest.mark.parametrize(
    ("duration", "says"),
    [("60 m", ": write 60m"), ("90 seconds", ": write 1m30s"), ("99999999999h", "not '99999999999h' [")],
)
def test_a_duration_is_mended_where_one_can_be_written(duration: str, says: str) -> None:
    rule = {"timeouts": {"request": duration}}
    assert says in only_problem({"parentRefs": [{"name": "gate"}], "rules": [rule]})


def test_what_is_too_long_is_called_so() -> None:
    path = {"type": "PathPrefix", "value": "/" + "x" * 2000}
    told = only_problem({"parentRefs": [{"name": "gate"}], "rules": [{"matches": [{"path": path}]}]})
    assert "at most 1024 characters" in told


def only_problem(spec: dict[str, Any]) -> str:
    """Of an HTTPRoute."""
    raw = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "r"},
        "spec": spec,
    }
    (problem,) = decode(raw, "f", lambda _: 1).problems
    return str(problem)
