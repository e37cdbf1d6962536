"""The engines' own generating paths."""

from typing import Any

import msgspec
import pytest

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
