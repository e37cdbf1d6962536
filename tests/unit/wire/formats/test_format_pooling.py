"""Pooled prompts count, and leave nothing in the cache."""

from typing import Any

import msgspec
import pytest

from headgate.wire.api import Reading
from headgate.wire.formats.pooling import FORMAT


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"input": ["ab", "cd"]}, len("ab\x1ecd\x1e")),
        ({"input": [1, 2]}, 9),
        ({"query": "q", "documents": ["d", {"text": "e"}]}, len("q\x1ede\x1e")),
        ({"text_1": "a", "text_2": ["b", "c"]}, len("a\x1ebc\x1e")),
        ({"messages": [{"role": "user", "content": "Hello"}]}, len("user\x1fHello\x1e\x1e")),
        ({"labels": 3}, 0),
    ],
)
def test_prompts_are_counted_and_not_hashed(body: dict[str, Any], size: int) -> None:
    found = FORMAT.read(msgspec.json.encode({"model": "m", **body}))
    assert isinstance(found, Reading)
    assert (found.model, found.prompt, found.prompt_bytes) == ("m", b"", size)
