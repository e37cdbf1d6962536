"""Completions: every shape of prompt."""

import msgspec
import pytest

from headgate.wire.api import BadRequest, Reading
from headgate.wire.formats.completions import FORMAT


def read(**body: object) -> Reading | BadRequest:
    return FORMAT.read(msgspec.json.encode(body))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("Hello", b"Hello"),
        (["a", "b"], b"a\x1eb"),
        ([1, 258], b"\x01\x00\x00\x00\x02\x01\x00\x00"),
        ([[1], [2]], b"\x01\x00\x00\x00\x1e\x02\x00\x00\x00"),
        ([], b""),
        ("é", "é".encode()),
    ],
)
def test_prompt_shapes(prompt: object, expected: bytes) -> None:
    reading = read(model="m", prompt=prompt)
    assert isinstance(reading, Reading)
    assert (reading.prompt, reading.prompt_bytes) == (expected, len(expected))


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": "m"}, "prompt"),
        ({"model": "m", "prompt": {}}, "prompt"),
        ({"prompt": "", "model": 1}, "model"),
    ],
)
def test_what_is_missing_is_named(body: dict[str, object], param: str) -> None:
    found = read(**body)
    assert isinstance(found, BadRequest)
    assert found.param == param


def test_embeddings_stand_for_a_prompt() -> None:
    reading = read(model="m", prompt_embeds=["AAAA", "BBBB"])
    assert isinstance(reading, Reading)
    assert reading.media_tokens == 2048
