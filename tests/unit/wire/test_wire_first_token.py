"""Which event of a stream carries the first token."""

import itertools
import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from headgate.wire.api import Format
from headgate.wire.first_token import LONGEST_EVENT, MOST_LINES, TokenReader
from headgate.wire.formats.chat import FORMAT as CHAT
from headgate.wire.formats.completions import FORMAT as COMPLETIONS
from headgate.wire.formats.messages import FORMAT as MESSAGES
from headgate.wire.formats.other import FORMAT as OTHER
from headgate.wire.formats.responses import FORMAT as RESPONSES


def event(data: Any, name: str = "") -> bytes:
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {json.dumps(data)}\n\n".encode()


def typed(kind: str, **more: Any) -> bytes:
    return event({"type": kind, **more}, kind)


EARLY = {
    "responses": (
        RESPONSES,
        typed("response.created", response={"id": "r", "error": None})
        + typed("response.queued")
        + event({"response": {"tools": [{"type": "function"}]}, "type": "response.in_progress"}),
        typed("response.output_item.added", item={"type": "reasoning"}),
    ),
    "responses that fail": (RESPONSES, typed("response.created") + typed("response.failed"), b""),
    "messages": (
        MESSAGES,
        typed("message_start", message={"usage": {"input_tokens": 5}}) + typed("ping") + typed("ping"),
        typed("content_block_start", content_block={"type": "tool_use"}),
    ),
    "messages that fail": (MESSAGES, typed("ping") + typed("error", error={"type": "overloaded_error"}), b""),
    "chat, kept alive": (
        CHAT,
        b": keep-alive\n\n" * 3,
        event({"choices": [{"delta": {"role": "assistant", "content": ""}}]}),
    ),
    "chat, with progress": (
        CHAT,
        event({"choices": [{"delta": {"role": "assistant"}}], "prompt_progress": {"processed": 5}}),
        event({"choices": [{"delta": {"content": "x"}}]}),
    ),
    "chat that fails": (CHAT, event({"error": {"code": 400}}) + b"data: [DONE]\n\n", b""),
    "tools": (CHAT, b"", event({"choices": [{"delta": {"tool_calls": [{"index": 0}]}}]})),
    "reasoning": (CHAT, b"", event({"choices": [{"delta": {"reasoning_content": "hm"}}]})),
    "completions": (COMPLETIONS, event({"prompt_progress": {}}), event({"choices": [{"text": "x"}]})),
    "anything": (OTHER, typed("message_start") + typed("response.created"), b"data: x\n\n"),
}


@pytest.mark.parametrize("name", EARLY)
@given(cuts=st.lists(st.integers(0, 400), max_size=6))
def test_where_the_first_token_is(name: str, cuts: list[int]) -> None:
    format_, early, token = EARLY[name]
    reader = TokenReader(format_.answers)
    ends = sorted({0, *(cut for cut in cuts if cut < len(early)), len(early)})
    assert not any(reader.feed(early[start:end]) for start, end in itertools.pairwise(ends))
    if token:
        assert reader.feed(token)
        assert not reader.feed(token), "told once"


@pytest.mark.parametrize(
    ("stream", "carries"),
    [
        (b'data: {"a":1}\n', True),  # a line is enough
        (b'data: {"a":1}', False),
        (b'data:{"a":1}\r', True),
        (b'data: {"a":\ndata: 1}\n', False),
        (b'data: {"a":\ndata: 1}\n\n', True),
        (b'data: {"a":1,\ndata: "type":\ndata:"error"}\n\n', False),
        (b'\xef\xbb\xbfdata: {"error":"x"}\n\ndata: {"error":null}\n', True),
        (b'data: {"error":{}}\n\n', False),
        (b'data: {"x":{"error":{}}}\n', True),
        (b'data: {"type":"x","type":"error"}\n\n', False),
        (b'event: error\ndata: {"a":1}\n\n', False),
        (b'event: error\n\ndata: {"a":1}\n\n', True),  # the name belongs to the event that ended
        (b"event: x\nid: 1\nretry: 2\n: y\n\n", False),
        (b"data\n\ndata:\n\ndata:  \n\n", False),
        (b"data: word\n", False),
        (b"data: word\n\n", True),
        (b"data: [DONE]\n\n", False),
        (b"DATA: x\n\n data: x\n\n", False),
        (b'data: {"a":"\xff"}\n\n', True),
        (b"", False),
    ],
)
def test_events_of_many_kinds(stream: bytes, carries: bool) -> None:
    for size in (1, 2, 3, len(stream) or 1):
        reader = TokenReader(CHAT.answers)
        pieces = [stream[at : at + size] for at in range(0, len(stream), size)]
        assert [reader.feed(piece) for piece in pieces].count(True) == carries


def test_an_event_that_is_too_long_to_be_seen_whole() -> None:
    long = {"response": {"instructions": "x" * 2 * LONGEST_EVENT}, "type": "response.created"}
    reader = TokenReader(RESPONSES.answers)
    assert not reader.feed(event(long))
    assert not reader.feed(event(long, "response.created"))
    assert reader.feed(event(long, "response.other"))
    lines = b"".join(b'data: "%b",\n' % (b"x" * 1000) for _ in range(40))
    assert not TokenReader(CHAT.answers).feed(b"data: [\n" + lines + b"data: 1]\n\n")


def test_a_stream_without_end_of_what_is_none() -> None:
    reader = TokenReader(CHAT.answers)
    assert not reader.feed(b": wait\n" * (MOST_LINES - 1))
    assert reader.feed(b": wait\n: wait\n")
    assert reader.done


@pytest.mark.parametrize("format_", [CHAT, RESPONSES], ids=lambda each: each.api)
@given(stream=st.binary(max_size=60))
def test_any_bytes_do_no_harm(format_: Format, stream: bytes) -> None:
    whole = TokenReader(format_.answers).feed(stream)
    reader = TokenReader(format_.answers)
    assert [reader.feed(stream[at : at + 1]) for at in range(len(stream))].count(True) == whole
