"""Responses: instructions, tools and every kind of input item."""

import itertools
from typing import Any

import msgspec
import pytest

from headgate.wire.api import Reading
from headgate.wire.formats.responses import FORMAT


def read(**body: Any) -> Reading:
    found = FORMAT.read(msgspec.json.encode(body))
    assert isinstance(found, Reading)
    return found


def test_tools_stand_behind_the_instructions() -> None:
    found = read(model="m", instructions="Be brief.", tools=[1], input="Hello")
    assert found.prompt == b"system\x1fBe brief.\x1e[1]\x1euser\x1fHello\x1e"
    assert found.tools_first == b"[1]\x1esystem\x1fBe brief.\x1euser\x1fHello\x1e"
    turns = [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    assert read(tools=[1], input=turns).prompt == b"developer\x1fBe brief.\x1e[1]\x1euser\x1fHello\x1e"


def test_a_longer_conversation_extends_the_shorter() -> None:
    items: list[dict[str, Any]] = [
        {"role": "user", "content": [{"type": "input_text", "text": "6 times 7?"}]},
        {"type": "function_call", "call_id": "1", "name": "times", "arguments": "[6,7]"},
        {"type": "function_call_output", "call_id": "1", "output": "42"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "42"}]},
    ]
    prompts = [read(input=items[:count]).prompt for count in range(1, 5)]
    for less, more in itertools.pairwise(prompts):
        assert more.startswith(less)
        assert more != less
    assert b"times" in prompts[1]


def test_limits_and_what_is_never_refused() -> None:
    found = read(model="m", stream=True, max_output_tokens=9, cache_salt="s", input=3)
    assert (found.model, found.streaming, found.max_tokens, found.salt, found.prompt) == (
        "m",
        True,
        9,
        "s",
        b"",
    )


@pytest.mark.parametrize(
    ("body", "id_"),
    [
        ({"previous_response_id": "resp_1"}, "resp_1"),
        ({"conversation": "conv_1"}, "conv_1"),
        ({"conversation": {"id": "conv_1"}}, "conv_1"),
        ({"previous_response_id": "resp_1", "conversation": "conv_1"}, "resp_1"),
        ({"previous_response_id": None, "conversation": {"id": "conv_1"}}, "conv_1"),
        ({"previous_response_id": "x" * 513, "conversation": "conv_1"}, "conv_1"),
        ({"conversation": {"x": "conv_1"}}, None),
        ({"conversation": {"id": {"id": "conv_1"}}}, None),
        ({"conversation": ["conv_1"]}, None),
        ({"conversation": {"id": "x" * 513}}, None),
        ({"conversation": ""}, None),
    ],
)
def test_the_answer_or_conversation_that_a_request_goes_on_with(
    body: dict[str, Any], id_: str | None
) -> None:
    assert read(model="m", input="x", **body).prior == id_
