"""Turns of a conversation and their content, as every chat API has them: one prompt whatever the API.

A turn is `role`, `\\x1f`, its content and `\\x1e`, so that roles and contents do not run together and the
same conversation has the same blocks in chat completions, Responses and Anthropic Messages. Content parts
are told apart by the fields they have: texts, media, tool results with parts of their own.
"""

from collections.abc import Mapping
from typing import Any

TURN_BEGINS, TURN_ENDS = b"\x1f", b"\x1e"
SYSTEM = (b"system\x1f", b"developer\x1f")
"""How a system turn begins."""

_TEXT = ("text", b"", b"")
_PARTS = {
    "text": _TEXT,
    "refusal": _TEXT,
    "thinking": _TEXT,
    "image_url": ("media", ("url",)),
    "video_url": ("media", ("url",)),
    "audio_url": ("media", ("url",)),
    "input_audio": ("media", ("data", "url")),
    "image": ("media", ("url", "data")),
    "video": ("media", ("url", "data")),
    "audio": ("media", ("url", "data")),
    "image_embeds": ("media", ("data",)),
    "audio_embeds": ("media", ("data",)),
    "file": ("media", ("file_data", "file_url", "file_id")),
    "source": ("media", ("data", "url", "file_id")),
    "file_data": ("media", ()),
    "file_url": ("media", ()),
    "file_id": ("media", ()),
}
"""Fields of a content part, of whatever `type`; a part has one of them."""

_PART_LAYOUT = tuple((b"", name, b"") for name in _PARTS)


def _content(part: tuple[object, ...]) -> tuple[object, ...]:
    return ("choice", {"string": _TEXT, "list": ("list", ("choice", {"string": _TEXT, "object": part}))})


_PART = ("object", _PARTS, _PART_LAYOUT)
_RESULT = _content(_PART)
_OUTPUT = (
    "choice",
    {"string": _TEXT, "list": ("list", ("choice", {"string": _TEXT, "object": _PART})), "object": _PART},
)
"""What a tool gave back: a text, parts, or one part: a screenshot."""

CONTENT = _content(
    (
        "object",
        {**_PARTS, "name": _TEXT, "input": ("raw", (b"null",)), "content": _RESULT},
        (*_PART_LAYOUT, (b"\x1d", "name", b""), (b"", "input", b""), (b"\x1d", "content", b"")),
    )
)
"""A text or a list of parts; a part may be a tool's call or its result."""

TURN = (
    "object",
    {
        "role": _TEXT,
        "content": CONTENT,
        "tool_calls": ("raw", (b"null", b"[]")),
        "tool_call_id": _TEXT,
        "name": _TEXT,
        "arguments": _TEXT,
        "output": _OUTPUT,
        "call_id": _TEXT,
    },
    (
        (b"", "role", b""),
        TURN_BEGINS,
        (b"", "content", b""),
        (b"\x1d", "name", b""),
        (b"", "tool_calls", b""),
        (b"", "tool_call_id", b""),
        (b"", "arguments", b""),
        (b"", "output", b""),
        (b"", "call_id", b""),
        TURN_ENDS,
    ),
)
"""A message, or an item of Responses that stands between messages: a call or its output."""

TURNS = ("turns", TURN, SYSTEM)
TOOLS = ("raw", (b"null", b"[]"))

SESSIONS = ("prompt_cache_key", "safety_identifier", "user")
"""Fields of OpenAI's APIs that may name a session, where a policy says so."""

MODEL_ALONE: Mapping[str, Any] = {
    "model": "model",
    "stream": "stream",
    "salt": None,
    "prior": (),
    "sessions": (),
    "limits": (),
    "need": {},
    "cached": False,
    "fields": {},
    "layout": (),
    "tools": None,
}
"""Shape of a body of which nothing but the model's name is read."""
