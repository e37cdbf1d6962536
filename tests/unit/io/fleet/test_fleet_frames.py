"""SSE frames and whole answers."""

from typing import Any

import msgspec
import pytest

from headgate.io.fleet.api import Call, Choice, Kind
from headgate.io.fleet.frames import Frames, usage

CHOICE = Choice(0, b"abcd", 'one "two" x', 11, 3, "length", None)


def call(kind: Kind, *choices: Choice) -> Call:
    return Call(kind, "m", True, True, choices, 1, 1)


def data(frame: bytes) -> Any:
    assert frame.startswith(b"data: ")
    assert frame.endswith(b"\n\n")
    return msgspec.json.decode(frame[6:])


def test_a_chat_stream_opens_with_the_role_and_ends_with_the_reason() -> None:
    frames = Frames(call("chat", CHOICE), "chatcmpl-1", 17)
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 17, "model": "m"}
    opening = {
        "index": 0,
        "delta": {"role": "assistant", "content": ""},
        "logprobs": None,
        "finish_reason": None,
    }
    assert data(frames.role(CHOICE)) == {**head, "choices": [opening]}
    middle = {"index": 0, "delta": {"content": 'one "'}, "logprobs": None, "finish_reason": None}
    assert data(frames.text(CHOICE, 'one "', False)) == {**head, "choices": [middle]}
    last = {**middle, "delta": {"content": "x"}, "finish_reason": "length", "stop_reason": None}
    assert data(frames.text(CHOICE, "x", True)) == {**head, "choices": [last]}


def test_a_completion_stream_has_no_role() -> None:
    frames = Frames(call("completions", CHOICE), "cmpl-1", 17)
    assert frames.role(CHOICE) == b""
    answer = data(frames.text(CHOICE, "x", True))
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"index": 0, "text": "x", "logprobs": None, "finish_reason": "length", "stop_reason": None}
    ]


def test_the_usage_frame_has_no_choices() -> None:
    answer = data(Frames(call("chat", CHOICE), "i", 1).usage(usage(10, 5, 8)))
    assert answer["choices"] == []
    assert answer["usage"] == {
        "prompt_tokens": 10,
        "total_tokens": 15,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 8},
    }


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_a_whole_answer_shows_what_is_before_the_stop_string(kind: Kind) -> None:
    stopped = Choice(1, b"abcd", "one two", 3, 2, "stop", " two")
    body = msgspec.json.decode(Frames(call(kind, CHOICE, stopped), "id-1", 17).whole(usage(1, 5, 0)))
    first, second = body["choices"]
    texts = [c["message"]["content"] if kind == "chat" else c["text"] for c in (first, second)]
    assert texts == ['one "two" x', "one"]
    assert (second["index"], second["finish_reason"], second["stop_reason"]) == (1, "stop", " two")
    assert body["usage"]["total_tokens"] == 6
