"""Pooled prompts count, and leave nothing in the cache."""

from typing import Any

import msgspec
import pytest

from headgate.model.requests import Usage
from headgate.wire.api import Reading
from headgate.wire.formats.embeddings import FORMAT


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"input": ["ab", "cd"]}, len("ab\x1ecd\x1e")),
        ({"input": [1, 2]}, 9),
        ({"texts": ["a", "b"]}, len("a\x1eb\x1e")),
        ({"messages": [{"role": "user", "content": "Hello"}]}, len("user\x1fHello\x1e\x1e")),
        ({"labels": 3}, 0),
    ],
)
def test_prompts_are_counted_and_not_hashed(body: dict[str, Any], size: int) -> None:
    found = FORMAT.read(msgspec.json.encode({"model": "m", **body}))
    assert isinstance(found, Reading)
    assert (found.model, found.prompt, found.prompt_bytes) == ("m", b"", size)


def test_an_answer_has_a_prompt_and_no_completion() -> None:
    assert FORMAT.counter.find(b'{"usage":{"prompt_tokens":5,"total_tokens":5}}') == Usage(5, 0)
