"""The contract of an API format: which requests it claims and what it reads from their bodies.

A format is one module in `formats/` with a module-level `Format` value; nothing else names it.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from headgate.model.requests import Api


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a format read from one body."""

    model: str
    """Empty: the body names none."""
    streaming: bool = False
    prompt: bytes = b""
    """All prompt text in the order the engine sees it: a longer conversation extends a shorter one."""
    max_tokens: int | None = None


class BadRequest(msgspec.Struct, frozen=True):
    """A body that its path does not allow: what the client is told with a 400."""

    message: str
    param: str | None = None
    """Name of the offending field."""


class Format(msgspec.Struct, frozen=True):
    """One API whose requests are understood."""

    api: Api
    suffixes: tuple[str, ...]
    """Ends of the paths (without query) that it claims, for POST."""
    read: Callable[[bytes], Reading | BadRequest]
    """Decodes a body; raises `msgspec.DecodeError` for text that is no JSON object of the right shape."""
    shape: Mapping[str, Any] | None = None
    """What the native scanner may read by itself (the language: `native/src/shape.rs`).

    It must give what `read` gives, for every body it accepts; all others it leaves to `read`. None: all.
    """


def model_name(value: Any) -> str | BadRequest:
    """The `model` field's value as a name, or what is wrong with it.

    Empty for a body without one, also with null or "": engines serve their own model then.
    """
    if value is msgspec.UNSET or value is None:
        return ""
    return value if isinstance(value, str) else BadRequest("model must be a string", "model")


def token_limit(*values: Any) -> int | None:
    """The first value that is a usable token count; engines judge the others."""
    for value in values:
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
