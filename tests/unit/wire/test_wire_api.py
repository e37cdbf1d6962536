"""What a format reads from a body besides its prompt, and what it refuses."""

import msgspec
import pytest

from headgate.model.requests import MEDIA_TOKENS, MOST_MEDIA
from headgate.wire.api import LONGEST_MODEL, BadRequest, Format, Reading
from headgate.wire.counts import ANY

SHAPE = {
    "model": "model",
    "stream": "stream",
    "salt": "salt",
    "prior": (),
    "sessions": (),
    "limits": ("most", "more"),
    "need": {},
    "cached": True,
    "fields": {"x": ("text", b"", b""), "image": ("list", ("media", ("url",)))},
    "layout": ((b"", "x", b""), (b"", "image", b"")),
    "tools": None,
}
LENIENT = Format("other", ("/x",), SHAPE, ANY)
STRICT = Format("chat", ("/x",), {**SHAPE, "need": {"x": ("string", "list"), "y": ("list",)}}, ANY)


def read(format_: Format = LENIENT, /, **body: object) -> Reading | BadRequest:
    return format_.read(msgspec.json.encode(body))


def reading(**body: object) -> Reading:
    found = read(LENIENT, **body)
    assert isinstance(found, Reading)
    return found


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"more": 5}, 5),
        ({"most": 0, "more": 5}, 0),
        ({"most": True, "more": -1}, None),
        ({"most": 1.0, "more": "7"}, None),
        ({"most": 10**18, "more": 3}, 3),
        ({}, None),
    ],
)
def test_the_first_usable_limit_counts(values: dict[str, object], expected: int | None) -> None:
    assert reading(**values).max_tokens == expected


def test_only_true_is_streaming() -> None:
    assert reading(stream=True).streaming
    assert not any(reading(stream=other).streaming for other in (False, None, 1, "true"))


@pytest.mark.parametrize("model", [None, "", 3, ["m"]])
def test_no_model_is_the_engine_s_default(model: object) -> None:
    assert reading(model=model).model is None


def test_a_salt_is_a_text() -> None:
    assert (reading(salt="s").salt, reading(salt=3).salt, reading().salt) == ("s", "", "")


def test_a_name_too_long_is_refused_by_every_format() -> None:
    assert reading(model="é" * (LONGEST_MODEL // 2)).model is not None
    for format_ in (LENIENT, STRICT):
        found = read(format_, model="é" * (LONGEST_MODEL // 2) + "x", x="")
        assert found == BadRequest(f"model is longer than {LONGEST_MODEL} bytes", "model")


@pytest.mark.parametrize(
    ("body", "param"),
    [({}, "x"), ({"x": None}, "x"), ({"x": {}}, "x"), ({"y": "text"}, "x"), ({"x": "", "model": 3}, "model")],
)
def test_what_a_strict_format_misses_is_named(body: dict[str, object], param: str) -> None:
    found = read(STRICT, **body)
    assert isinstance(found, BadRequest)
    assert found.param == param


@pytest.mark.parametrize("body", [{"x": ""}, {"x": []}, {"x": 3, "y": []}])
def test_one_need_is_enough(body: dict[str, object]) -> None:
    assert isinstance(read(STRICT, **body), Reading)


def test_media_counts_in_tokens_and_is_bounded() -> None:
    one = reading(x="abc", image=["http://x"])
    assert (one.prompt_bytes, one.media_tokens) == (3, MEDIA_TOKENS)
    assert reading(image=["http://x"] * 1000).media_tokens == MOST_MEDIA * MEDIA_TOKENS
