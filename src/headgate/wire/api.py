"""The contract of an API format: which requests it claims and what is read from their bodies.

A format is one module in `formats/` with a module-level `Format` value; nothing else names it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from headgate.model.bounds import MODEL_NAME_BYTES
from headgate.model.requests import Api
from headgate.wire import multipart
from headgate.wire.counts import Answers
from headgate.wire.shape import Text, execute, first_count, kind_of, media_tokens, string, texts
from headgate.wire.usage import Counter, counter_of

LONGEST_MODEL = MODEL_NAME_BYTES
"""Bytes of a model's name; a body with a longer one is refused."""

BodyKind = Literal["json", "multipart"]
"""How the bytes of a body are read."""


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a format read from one body."""

    model: str | None
    """None: the engine's default; never empty."""
    streaming: bool = False
    prompt: bytes = b""
    """All of the prompt in the order the engine sees it: a longer conversation extends a shorter one. Empty
    where nothing stays in the KV cache."""
    tools_first: bytes = b""
    """The same with the tools before the system text; empty: no other order."""
    prompt_bytes: int = 0
    """Bytes of its text."""
    media_tokens: int = 0
    max_tokens: int | None = None
    prior: str | None = None
    """Id of the answer or the conversation that it goes on with."""
    sessions: tuple[tuple[str, str], ...] = ()
    """Fields that may name the session that it belongs to, with what they say."""
    salt: str = ""
    """Part of the cache's key, as the client asked."""


class BadRequest(msgspec.Struct, frozen=True):
    """A body that its path does not allow: what the client is told with a 400."""

    message: str
    param: str | None = None
    """Name of the offending field."""


class Format(msgspec.Struct, frozen=True):
    """One API whose requests are understood."""

    api: Api
    suffixes: tuple[str, ...]
    """Ends of the paths (without query) that it claims, for POST; none: all that no other claims, by any
    method."""
    shape: Mapping[str, Any]
    """What is read; see `shape`."""
    answers: Answers
    """What its answers hold."""
    body: BodyKind = "json"
    """Of bodies of this kind. In a multipart one `model`, `stream`, `limits` and `sessions` of the shape name
    fields of the form, and nothing else of it has a meaning; a session's name has at most `LONGEST_MODEL`
    bytes."""

    @property
    def counter(self) -> Counter:
        """Reads the usage of its answers."""
        return counter_of(self.answers)

    @property
    def strict(self) -> bool:
        """Whether a body that cannot be read is refused; else it is routed without being understood."""
        return bool(self.shape["need"])

    def read_form(self, body: bytes, content_type: str) -> Reading | BadRequest | None:
        """Reads a multipart body; None: it is not understood. The last field of a name counts."""
        boundary = multipart.boundary_of(content_type)
        model_field, stream_field, limits = (self.shape[each] for each in ("model", "stream", "limits"))
        sessions = self.shape["sessions"]
        names = [name.encode() for name in (model_field, stream_field, *limits, *sessions)]
        places = None if boundary is None else multipart.values(body, boundary, names)
        if places is None:
            return None
        longest = LONGEST_MODEL + 1
        found = {name.decode(): body[start : min(end, start + longest)] for name, (start, end) in places}
        name = found.get(model_field, b"")
        if len(name) > LONGEST_MODEL:
            return _too_long(model_field)
        return Reading(
            model=_text(name) or None,
            streaming=found.get(stream_field, b"").lower() in multipart.TRUE,
            max_tokens=first_count(limits, {name: msgspec.Raw(value) for name, value in found.items()}),
            sessions=tuple(
                (name, text)
                for name in sessions
                if len(found.get(name, b"")) <= LONGEST_MODEL and (text := _text(found.get(name, b"")))
            ),
        )

    def read(self, body: bytes) -> Reading | BadRequest:
        """Reads a body of JSON. Raises as `shape.execute` does."""
        shape = self.shape
        found = execute(shape, body)
        model_field = shape["model"]
        raw = found.fields.get(model_field)
        model = string(raw)
        if model is not None and len(model.encode()) > LONGEST_MODEL:
            return _too_long(model_field)
        if self.strict:
            if kind_of(raw) not in ("missing", "null", "string"):
                return BadRequest(f"{model_field} must be a string", model_field)
            if (missing := self._missing(found.fields)) is not None:
                return missing
        stream = found.fields.get(shape["stream"])
        text: Text = found.text
        return Reading(
            model=model or None,
            streaming=stream is not None and bytes(stream) == b"true",
            prompt=text.bytes() if shape["cached"] else b"",
            tools_first=found.tools_first.bytes() if shape["cached"] and found.tools_first else b"",
            prompt_bytes=text.size,
            media_tokens=media_tokens(text),
            max_tokens=first_count(shape["limits"], found.fields),
            prior=next((id_ for _, id_ in texts(shape["prior"], found.fields) if _fits(id_)), None),
            sessions=tuple(texts(shape["sessions"], found.fields)),
            salt=(string(found.fields.get(shape["salt"])) or "") if shape["salt"] else "",
        )

    def _missing(self, fields: Mapping[str, msgspec.Raw]) -> BadRequest | None:
        """What is wrong with a body that has none of the fields that its path needs."""
        need = self.shape["need"]
        for name, kinds in need.items():
            if kind_of(fields.get(name)) in kinds:
                return None
        name, kinds = next(iter(need.items()))
        if kind_of(fields.get(name)) in ("missing", "null"):
            return BadRequest(f"you must provide {name}", name)
        return BadRequest(f"{name} must be a {' or a '.join(kinds)}", name)


def _fits(id_: str) -> bool:
    return len(id_.encode()) <= LONGEST_MODEL


def _too_long(model_field: str) -> BadRequest:
    return BadRequest(f"{model_field} is longer than {LONGEST_MODEL} bytes", model_field)


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None
