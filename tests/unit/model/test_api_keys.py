"""Keys of model servers: what is one, and that nothing shows it."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.manifests.decode import decode
from headgate.model.api_keys import LONGEST_KEY, read_key, read_secret
from headgate.model.objects import Secret

KEY = "sk-hunter2-hunter2"


def test_a_key_is_one_word_with_white_space_around_it() -> None:
    assert read_key(f" {KEY}\n").text == KEY


@pytest.mark.parametrize("text", ["", " \n", "a b", "a\nb", "sk-é", "a\x00", "a" * (LONGEST_KEY + 1)])
def test_what_no_header_holds_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"key"):
        read_key(text)


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=50))
def test_no_representation_shows_it(text: str) -> None:
    assert text not in repr(read_key(text))
    assert text not in str([read_key(text)])


@pytest.mark.parametrize(
    ("data", "string_data"),
    [
        ({"key": base64.b64encode(KEY.encode()).decode()}, None),
        (None, {"key": KEY}),
        ({"key": "b3RoZXI="}, {"key": KEY}),
    ],
)
def test_a_secret_holds_it_as_base64_or_as_text(data: Any, string_data: Any) -> None:
    assert read_secret(data, string_data, "key").text == KEY


@pytest.mark.parametrize(
    ("data", "string_data"),
    [
        (None, None),
        ({}, {"other": KEY}),
        ({"key": KEY}, None),
        ({"key": 17}, None),
        ({"key": "/w=="}, None),
        (KEY, KEY),
        (None, {"key": [KEY]}),
        (None, {"key": f"{KEY} {KEY}"}),
        ({"key": base64.b64encode(f"{KEY} {KEY}".encode()).decode()}, None),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_its_values(data: Any, string_data: Any) -> None:
    with pytest.raises(ValueError, match=r"key") as refused:
        read_secret(data, string_data, "key")
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "members",
    [
        {"stringData": {"key": KEY}},
        {"data": {"key": KEY, KEY: KEY}},
        {"data": KEY},
        {"data": [KEY], "type": KEY, "immutable": KEY},
        {"stringData": {"key": "${" + KEY + "}"}},
        {"stringdata": {"key": KEY}, KEY: KEY},
    ],
)
def test_a_secret_of_any_shape_is_read_and_never_shown(members: dict[str, Any]) -> None:
    raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "engine"}, **members}
    decoded = decode(raw, "s.yaml", lambda _: 1)
    assert isinstance(decoded.object, Secret)
    assert decoded.problems == ()
    assert KEY not in repr(decoded)


def test_a_secret_without_a_name_is_told_without_its_values() -> None:
    raw = {"apiVersion": "v1", "kind": "Secret", "metadata": {}, "stringData": {"key": KEY}}
    decoded = decode(raw, "s.yaml", lambda _: 1)
    assert decoded.problems
    assert KEY not in repr(decoded)
