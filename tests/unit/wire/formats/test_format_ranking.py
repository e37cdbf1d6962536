"""A question and the texts that are held against it."""

from typing import Any

import msgspec
import pytest

from headgate.model.requests import Usage
from headgate.wire.api import Reading
from headgate.wire.formats.ranking import FORMAT


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ({"query": "q", "documents": ["d", {"text": "e"}]}, len("q\x1ede\x1e")),
        ({"query": "q", "items": ["d", "e"]}, len("q\x1ede\x1e")),
        ({"text_1": "a", "text_2": ["b", "c"]}, len("a\x1ebc\x1e")),
        ({"labels": 3}, 0),
    ],
)
def test_texts_are_counted_and_not_hashed(body: dict[str, Any], size: int) -> None:
    found = FORMAT.read(msgspec.json.encode({"model": "m", **body}))
    assert isinstance(found, Reading)
    assert (found.model, found.prompt, found.prompt_bytes) == ("m", b"", size)


@pytest.mark.parametrize("usage", [b'"prompt_tokens":5,"total_tokens":5', b'"total_tokens":5'])
def test_an_answer_has_its_prompt_or_only_a_total(usage: bytes) -> None:
    assert FORMAT.counter.find(b'{"results":[],"usage":{' + usage + b"}}") == Usage(5, 0)
