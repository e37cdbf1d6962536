"""Anthropic Messages: system text, tools, and turns of blocks."""

from typing import Any

import msgspec

from headgate.wire.api import Reading
from headgate.wire.formats.messages import FORMAT


def read(**body: Any) -> Reading:
    found = FORMAT.read(msgspec.json.encode(body))
    assert isinstance(found, Reading)
    return found


def test_tools_stand_behind_the_system_text() -> None:
    turns = [{"role": "user", "content": "Hello"}]
    found = read(model="m", system="Be brief.", tools=[1], messages=turns, max_tokens=9)
    assert found.prompt == b"system\x1fBe brief.\x1e[1]\x1euser\x1fHello\x1e"
    assert found.tools_first == b"[1]\x1esystem\x1fBe brief.\x1euser\x1fHello\x1e"
    assert (found.model, found.max_tokens) == ("m", 9)


def test_calls_and_results_of_tools_are_prompt() -> None:
    turns: list[dict[str, Any]] = [
        {"role": "user", "content": "6 times 7?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "times", "input": {"a": 6}}],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "x"}]},
    ]
    prompts = [read(messages=turns[:count]).prompt for count in range(1, 5)]
    for less, more, word in zip(prompts, prompts[1:], (b'{"a":6}', b"42", b"hm"), strict=False):
        assert more.startswith(less)
        assert word in more[len(less) :]
