"""Chat completions: what is read, and that a longer conversation extends a shorter one."""

import msgspec
import pytest

from headgate.wire.api import BadRequest, Reading
from headgate.wire.formats.chat import FORMAT


def read(**body: object) -> Reading | BadRequest:
    return FORMAT.read(msgspec.json.encode(body))


def prompt(**body: object) -> bytes:
    reading = read(model="m", **body)
    assert isinstance(reading, Reading)
    return reading.prompt


TURNS: list[dict[str, object]] = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function"}]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, "plain"]},
]


@pytest.mark.parametrize("turns", range(1, len(TURNS)))
def test_a_longer_conversation_extends_the_shorter(turns: int) -> None:
    assert prompt(messages=TURNS[: turns + 1]).startswith(prompt(messages=TURNS[:turns]))


def test_tools_come_before_messages() -> None:
    with_tools = prompt(tools=[{"type": "function"}], messages=TURNS)
    assert with_tools.startswith(b'[{"type":"function"}]')
    assert with_tools.endswith(prompt(messages=TURNS))
    assert prompt(tools=[], messages=TURNS) == prompt(messages=TURNS)


def test_roles_and_contents_do_not_run_together() -> None:
    assert prompt(messages=[{"role": "ab", "content": "c"}]) != prompt(
        messages=[{"role": "a", "content": "bc"}]
    )


def test_an_image_counts_by_its_url_and_inline_data_by_a_digest() -> None:
    def image(url: str) -> bytes:
        return prompt(
            messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
        )

    assert b"http://pictures/cat" in image("http://pictures/cat")
    long = "data:image/png;base64," + "A" * 100_000
    assert len(image(long)) < 100
    assert image(long) != image(long + "B")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": 3, "messages": []}, "model"),
        ({"model": ["m"], "messages": []}, "model"),
        ({}, "messages"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": None}, "messages"),
    ],
)
def test_what_is_missing_is_named(body: dict[str, object], param: str) -> None:
    found = read(**body)
    assert isinstance(found, BadRequest)
    assert found.param == param


def test_limits_and_streaming() -> None:
    reading = read(model="m", messages=[], stream=True, max_tokens=5, max_completion_tokens=7)
    assert isinstance(reading, Reading)
    assert (reading.streaming, reading.max_tokens) == (True, 7)
    strange = read(model="m", messages=[], stream="yes", max_tokens="many")
    assert isinstance(strange, Reading)
    assert (strange.streaming, strange.max_tokens) == (False, None)
