"""OpenAI chat completions: tools, then every message's role and content, are the prompt."""

from typing import Any

import msgspec
import xxhash

from headgate.wire.api import BadRequest, Format, Reading, model_name, token_limit

LONGEST_URL = 256
"""Bytes of a media URL taken literally; a longer one (inline data) stands as its digest."""


class _Message(msgspec.Struct):
    role: Any = ""
    content: Any = None
    tool_calls: msgspec.Raw = msgspec.Raw()
    tool_call_id: Any = None


class _Body(msgspec.Struct):
    model: Any = msgspec.UNSET
    messages: list[_Message] | None = None
    tools: msgspec.Raw = msgspec.Raw()
    stream: Any = None
    max_tokens: Any = None
    max_completion_tokens: Any = None


_DECODER = msgspec.json.Decoder(_Body)


def _media(value: Any) -> bytes:
    url = value.get("url") if isinstance(value, dict) else value
    if isinstance(url, str):
        raw = url.encode()
        return raw if len(raw) <= LONGEST_URL else xxhash.xxh3_128_hexdigest(raw).encode()
    return xxhash.xxh3_128_hexdigest(msgspec.json.encode(value)).encode()


def _part(part: Any) -> bytes:
    """One entry of a content list: text as it is, everything else by its kind and its URL or digest."""
    if isinstance(part, str):
        return part.encode()
    if not isinstance(part, dict):
        return msgspec.json.encode(part)
    text = part.get("text")
    if isinstance(text, str):
        return text.encode()
    kind = part.get("type")
    media = part.get(kind) if isinstance(kind, str) else part
    return b"\x1d" + str(kind).encode() + b"\x1d" + _media(media)


def _content(content: Any) -> bytes:
    if isinstance(content, str):
        return content.encode()
    if isinstance(content, list):
        return b"".join(map(_part, content))
    return b"" if content is None else msgspec.json.encode(content)


def prompt(body: _Body) -> bytes:
    """Prompt bytes in engine order; record separators keep roles and contents from running together."""
    parts: list[bytes] = []
    tools = bytes(body.tools)
    if tools and tools not in (b"null", b"[]"):
        parts += (tools, b"\x1e")
    for message in body.messages or ():
        parts += (str(message.role).encode(), b"\x1f", _content(message.content))
        calls = bytes(message.tool_calls)
        if calls and calls != b"null":
            parts.append(calls)
        if message.tool_call_id is not None:
            parts.append(str(message.tool_call_id).encode())
        parts.append(b"\x1e")
    return b"".join(parts)


def read(raw: bytes) -> Reading | BadRequest:
    """Reads a chat completions body; raises `msgspec.DecodeError` when it is not one."""
    body = _DECODER.decode(raw)
    model = model_name(body.model)
    if isinstance(model, BadRequest):
        return model
    if body.messages is None:
        return BadRequest("you must provide messages, a list", "messages")
    return Reading(
        model=model,
        streaming=body.stream is True,
        prompt=prompt(body),
        max_tokens=token_limit(body.max_completion_tokens, body.max_tokens),
    )


_PART = ("part", "text", "type", "url", LONGEST_URL, b"\x1d")
_SHAPE = {
    "model": "model",
    "stream": "stream",
    "limits": ("max_completion_tokens", "max_tokens"),
    "need": "messages",
    "fields": {
        "tools": ("raw", (b"null", b"[]")),
        "messages": (
            "list",
            (
                "object",
                {
                    "role": ("string",),
                    "content": (
                        "choice",
                        {
                            "string": ("string",),
                            "list": ("list", ("choice", {"string": ("string",), "object": _PART})),
                            "null": ("text",),
                        },
                    ),
                    "tool_calls": ("raw", (b"null",)),
                    "tool_call_id": ("text",),
                },
                (
                    ("role", b""),
                    b"\x1f",
                    ("content", b""),
                    ("tool_calls", b""),
                    ("tool_call_id", b""),
                    b"\x1e",
                ),
            ),
        ),
    },
    "layout": (("tools", b"\x1e"), ("messages", b"")),
}

FORMAT = Format("chat", ("/v1/chat/completions",), read, _SHAPE)
