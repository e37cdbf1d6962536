"""The same conversation has the same prompt whatever the API, its images and sounds included."""

from typing import Any

import msgspec
import pytest

from headgate.wire.api import Reading
from headgate.wire.formats.chat import FORMAT as CHAT
from headgate.wire.formats.messages import FORMAT as MESSAGES
from headgate.wire.formats.responses import FORMAT as RESPONSES
from headgate.wire.shape import MEDIA_BLOCKS

DATA = "iVBORw0KGgo" * 30_000
URL = f"data:image/png;base64,{DATA}"


def read(format_: Any, body: dict[str, Any]) -> Reading:
    found = format_.read(msgspec.json.encode({"model": "m", **body}))
    assert isinstance(found, Reading)
    return found


def chat(*content: Any) -> Reading:
    return read(CHAT, {"messages": [{"role": "user", "content": list(content)}]})


SAME = [
    chat(
        {"type": "image_url", "image_url": {"url": URL, "detail": "high"}}, {"type": "text", "text": "What?"}
    ),
    chat({"type": "image_url", "image_url": URL}, "What?"),
    read(
        RESPONSES,
        {
            "input": [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_image", "image_url": URL},
                        {"type": "input_text", "text": "What?"},
                    ],
                }
            ]
        },
    ),
    read(
        MESSAGES,
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {
                            "type": "image",
                            "source": {"type": "base64", "media_type": "image/png", "data": DATA},
                        },
                        {"type": "text", "text": "What?"},
                    ],
                }
            ]
        },
    ),
]


@pytest.mark.parametrize("other", SAME[1:])
def test_one_question_about_one_image(other: Reading) -> None:
    first = SAME[0]
    assert (other.prompt, other.prompt_bytes, other.media_tokens) == (
        first.prompt,
        first.prompt_bytes,
        first.media_tokens,
    )
    assert (first.prompt_bytes, first.media_tokens) == (len(b"user\x1fWhat?\x1e"), 1024)


def test_questions_about_one_image_share_its_blocks() -> None:
    image = {"type": "image_url", "image_url": {"url": URL}}
    one, two = (chat(image, question).prompt for question in ("What is this?", "Who made it?"))
    shared = len("user\x1f") + MEDIA_BLOCKS * 128
    assert one[:shared] == two[:shared]
    other = chat({"type": "image_url", "image_url": {"url": URL + "B"}}, "What is this?").prompt
    assert other[:128] != one[:128]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "input_audio", "input_audio": {"data": "UklGR" * 100_000, "format": "wav"}},
        {"type": "audio_url", "audio_url": {"url": "http://sounds/a"}},
        {"type": "video_url", "video_url": {"url": "http://films/a"}},
        {"type": "file", "file": {"file_data": "JVBER" * 100_000, "filename": "a.pdf"}},
        {"type": "input_file", "file_data": "JVBER" * 100_000},
        {"type": "input_file", "file_url": "http://files/a"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "document", "source": {"type": "url", "url": "http://files/a"}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "base64", "data": "AAAA"}}]},
    ],
)
def test_every_medium_counts_alike(part: dict[str, Any]) -> None:
    assert chat(part).media_tokens == 1024
    assert len(chat(part).prompt) >= MEDIA_BLOCKS * 128


def test_a_screenshot_that_a_tool_took_counts_like_an_image() -> None:
    """Alone, as computer use has it, or as one part of several."""
    shot = {"type": "computer_screenshot", "image_url": URL}
    alone, listed = (
        read(RESPONSES, {"input": [{"type": "computer_call_output", "call_id": "1", "output": output}]})
        for output in (shot, [shot])
    )
    assert alone.media_tokens == listed.media_tokens == 1024
    assert alone.prompt == listed.prompt
    assert len(alone.prompt) < 100_000


def test_text_conversations_are_the_same_in_every_api() -> None:
    turns = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi"}]
    plain = read(CHAT, {"messages": [{"role": "system", "content": "Be kind."}, *turns]}).prompt
    assert read(RESPONSES, {"instructions": "Be kind.", "input": turns}).prompt == plain
    assert read(MESSAGES, {"system": "Be kind.", "messages": turns}).prompt == plain
    blocks = [{"type": "text", "text": "Be kind."}]
    assert read(MESSAGES, {"system": blocks, "messages": turns}).prompt == plain
    hello = read(CHAT, {"messages": [{"role": "user", "content": "Hello"}]}).prompt
    assert read(RESPONSES, {"input": "Hello"}).prompt == hello
