"""The engines' own generating paths."""

from typing import Any

import msgspec
import pytest

from headgate.model.requests import Usage
from headgate.wire.api import Reading
from headgate.wire.formats.generate import FORMAT


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({"text": "Hello"}, b"Hello"),
        ({"input_ids": [[1], [2]]}, b"\x01\0\0\0\x1e\x02\0\0\0"),
        ({"token_ids": [1, 2], "sampling_params": {"max_tokens": 5}}, b"\x01\0\0\0\x02\0\0\0"),
        ({"prompt": ["a", "b"]}, b"a\x1eb"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, b"user\x1fHello\x1e"),
    ],
)
def test_prompts(body: dict[str, Any], prompt: bytes) -> None:
    found = FORMAT.read(msgspec.json.encode(body))
    assert isinstance(found, Reading)
    assert (found.prompt, found.model) == (prompt, None)


def test_images_beside_the_text_count() -> None:
    found = FORMAT.read(msgspec.json.encode({"text": "x", "image_data": ["http://a", {"url": "http://b"}]}))
    assert isinstance(found, Reading)
    assert found.media_tokens == 2048


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        ({"sampling_params": {"max_tokens": 5}}, 5),
        ({"sampling_params": {"max_new_tokens": 5}}, 5),
        ({"max_tokens": 3, "sampling_params": {"max_tokens": 5}}, 3),
        ({"sampling_params": {"max_tokens": None}}, None),
        ({"sampling_params": [{"max_tokens": 5}]}, None),
        ({"sampling_params": None}, None),
    ],
)
def test_a_limit_may_stand_among_the_sampling_parameters(body: dict[str, Any], limit: int | None) -> None:
    found = FORMAT.read(msgspec.json.encode({"text": "x", **body}))
    assert isinstance(found, Reading)
    assert found.max_tokens == limit


def test_both_engines_answers_are_counted() -> None:
    theirs = b'{"text":"x","meta_info":{"prompt_tokens":7,"completion_tokens":3,"cached_tokens":4}}'
    assert FORMAT.counter.find(theirs) == Usage(7, 3, 4)
    assert FORMAT.counter.find(b'{"usage":{"prompt_tokens":7,"completion_tokens":3}}') == Usage(7, 3)
