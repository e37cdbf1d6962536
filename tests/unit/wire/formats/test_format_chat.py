"""Chat completions: what is read, and that a longer conversation extends a shorter one."""

import msgspec
import pytest

from headgate.wire.api import BadRequest, Reading
from headgate.wire.formats.chat import FORMAT


def read(**body: object) -> Reading | BadRequest:
    return FORMAT.read(msgspec.json.encode(body))


def reading(**body: object) -> Reading:
    found = read(model="m", **body)
    assert isinstance(found, Reading)
    return found


TURNS: list[dict[str, object]] = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "content": "Hello"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "c1", "type": "function"}]},
    {"role": "tool", "tool_call_id": "c1", "content": "42"},
    {"role": "user", "content": [{"type": "text", "text": "What is this?"}, "plain"]},
]
TOOLS = [{"type": "function"}]


@pytest.mark.parametrize("turns", range(1, len(TURNS)))
def test_a_longer_conversation_extends_the_shorter(turns: int) -> None:
    for tools in ([], TOOLS):
        longer = reading(messages=TURNS[: turns + 1], tools=tools).prompt
        assert longer.startswith(reading(messages=TURNS[:turns], tools=tools).prompt)


def test_tools_come_behind_the_system_text_or_first_of_all() -> None:
    found = reading(tools=TOOLS, messages=TURNS)
    assert found.prompt.startswith(b'system\x1fYou are kind.\x1e[{"type":"function"}]\x1euser\x1f')
    assert found.tools_first.startswith(b'[{"type":"function"}]\x1esystem\x1fYou are kind.\x1euser\x1f')
    alone = reading(tools=TOOLS, messages=TURNS[1:])
    assert (alone.prompt[:1], alone.tools_first) == (b"[", b"")
    assert reading(tools=[], messages=TURNS) == reading(messages=TURNS)


def test_roles_and_contents_do_not_run_together() -> None:
    one, other = ([{"role": role, "content": content}] for role, content in (("ab", "c"), ("a", "bc")))
    assert reading(messages=one).prompt != reading(messages=other).prompt


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": 3, "messages": []}, "model"),
        ({"model": "m"}, "messages"),
        ({"model": "m", "messages": None}, "messages"),
        ({"model": "m", "messages": "text"}, "messages"),
    ],
)
def test_what_is_missing_is_named(body: dict[str, object], param: str) -> None:
    found = read(**body)
    assert isinstance(found, BadRequest)
    assert found.param == param


def test_limits_streaming_and_salt() -> None:
    found = reading(messages=[], stream=True, max_tokens=5, max_completion_tokens=7, cache_salt="s")
    assert (found.streaming, found.max_tokens, found.salt) == (True, 7, "s")
    strange = reading(messages=[], stream="yes", max_tokens="many")
    assert (strange.streaming, strange.max_tokens, strange.salt) == (False, None, "")
