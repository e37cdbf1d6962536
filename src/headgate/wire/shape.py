"""The language in which an API format says what is read from its bodies, and its execution in Python.

The native scanner executes the same values (`native/src/shape.rs`); a property test holds both to one
result. Every rule gives text for every JSON value: nothing for a kind of value that it does not name. A
shape is a dictionary:

* `model`, `stream`, `salt`: names of top-level fields; `limits`: such names, or `FIELD.NAME` for one
  within the object at a field; the first usable one counts
* `prior`: fields with the id of an answer or a conversation that the request goes on with, such names or
  `FIELD.NAME`, where `FIELD` may stand before it for a string there; the first one that has one counts
* `sessions`: fields that may name the session that it belongs to, such names or `FIELD.NAME`
* `need`: top-level field → kinds of value (`string`, `list`); a body that has none of them is refused.
  Empty: no body is refused, and one that cannot be read is routed without being understood
* `cached`: whether the engine keeps the prompt in its KV cache, so that it has blocks
* `fields`: top-level field → rule
* `layout`: the order in which the engine sees them. `LEAD` stands for the leading turn (see `turns`)
* `tools`: the field that some models' templates render before the system text; None: there is none

A rule is a tuple whose first entry names it:

* `("text", before, after)`: a string's text, between two literals
* `("raw", (skipped, ...))`: the value's own bytes; nothing when they equal one of `skipped`. Fields only
* `("media", (key, ...))`: a string, or the string at the first of these keys of an object, stands for an
  image, a sound or a file: it counts `MEDIA_TOKENS` tokens, and its digest fills as many bytes of the prompt
* `("list", rule)`: what each item gives, one after another
* `("turns", rule, (beginning, ...))`: the same, but a first item that begins with one of these is the lead.
  Of one top-level field only, itself or by its kind
* `("object", fields, layout)`: the fields in the order of the layout
* `("choice", {"string" | "list" | "object": rule})`: by the kind of value
* `("prompts", separator)`: a text; or a list of token ids, of texts and of lists of token ids, the separator
  before each text and each list but the first item

A layout is a sequence of literal bytes and of `(before, field, after)`, the two literals only around a field
that gave something. Where a key stands twice in an object, the last one counts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
import xxhash

from headgate.model.requests import BLOCK_BYTES, MEDIA_TOKENS, MOST_MEDIA

LEAD = ("lead",)
"""Place of the leading turn in a layout."""

MEDIA_BLOCKS = MEDIA_TOKENS * 4 // BLOCK_BYTES
"""Blocks that one image, sound or file fills."""

Rule = tuple[Any, ...]
Raw = msgspec.Raw

_OBJECT = msgspec.json.Decoder(dict[str, Raw])
_LIST = msgspec.json.Decoder(list[Raw])
_STRING = msgspec.json.Decoder(str)
_COUNT = re.compile(rb"(?:0|[1-9][0-9]{0,17})\Z")
_KINDS = {ord('"'): "string", ord("["): "list", ord("{"): "object", ord("n"): "null"}
_DATA_URL = b"data:"


class Text:
    """Prompt bytes as they grow."""

    __slots__ = ("media", "parts", "size")

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        """Bytes of text: those that stand for media are not counted."""
        self.media = 0

    def push(self, piece: bytes) -> None:
        """Adds text."""
        self.parts.append(piece)
        self.size += len(piece)

    def append(self, other: "Text") -> None:
        """Adds what another text has."""
        self.parts += other.parts
        self.size += other.size
        self.media += other.media

    def show(self, reference: str) -> None:
        """Adds an image, a sound or a file, known by its URL or by its data."""
        raw = reference.encode()
        if raw.startswith(_DATA_URL):
            _, comma, data = raw.partition(b",")
            raw = data if comma else raw
        self.parts.append(xxhash.xxh3_128_hexdigest(raw).encode() * (MEDIA_BLOCKS * BLOCK_BYTES // 32))
        self.media += 1

    def bytes(self) -> bytes:
        """All of it."""
        return b"".join(self.parts)


class Found(msgspec.Struct, frozen=True):
    """What a shape found in a body."""

    fields: Mapping[str, Raw]
    """The body's own, the last one of each name."""
    text: Text
    tools_first: Text | None
    """The prompt with the tools before the lead; None: the same."""


def kind_of(raw: Raw | None) -> str:
    """`string`, `list`, `object`, `null` or `other`; `missing` for None."""
    return "missing" if raw is None else _KINDS.get(memoryview(raw)[0], "other")


def string(raw: Raw | None) -> str | None:
    """A string's text; None for other kinds of value."""
    return _STRING.decode(raw) if raw is not None and kind_of(raw) == "string" else None


def count(raw: Raw | None) -> int | None:
    """A number without sign, fraction and exponent; None for other values."""
    found = None if raw is None else _COUNT.match(bytes(raw)[:19])
    return int(found[0]) if found is not None else None


def texts(names: Sequence[str], fields: Mapping[str, Raw]) -> Iterator[tuple[str, str]]:
    """The strings at these fields that are not empty, `FIELD` or `FIELD.NAME` with each."""
    for each in names:
        field, _, name = each.partition(".")
        raw = fields.get(field)
        if name and raw is not None:
            raw = _OBJECT.decode(raw).get(name) if kind_of(raw) == "object" else None
        if found := string(raw):
            yield each, found


def first_count(limits: Sequence[str], fields: Mapping[str, Raw]) -> int | None:
    """The first usable one of a shape's limits."""
    for limit in limits:
        field, _, name = limit.partition(".")
        raw = fields.get(field)
        if name and raw is not None:
            raw = _OBJECT.decode(raw).get(name) if kind_of(raw) == "object" else None
        if (found := count(raw)) is not None:
            return found
    return None


def execute(shape: Mapping[str, Any], body: bytes) -> Found:
    """Reads a body by a shape.

    Raises `msgspec.DecodeError` for text that is no JSON object, RecursionError for one nested too deeply,
    UnicodeDecodeError for bytes that are no text where text is read.
    """
    fields = _OBJECT.decode(body)
    given: dict[str, Text] = {}
    lead: Text | None = None
    for name, rule in shape["fields"].items():
        if name not in fields:
            continue
        raw = fields[name]
        chosen = rule[1].get(kind_of(raw)) if rule[0] == "choice" else rule
        if chosen is not None and chosen[0] == "turns":
            lead, text = _turns(chosen, raw)
        else:
            text = _give(rule, raw)
        if text is not None:
            given[name] = text
    layout = shape["layout"]
    tools = shape["tools"]
    usual = _lay_out(layout, given, lead)
    if tools not in given or not _before(layout, tools, given, lead):
        return Found(fields, usual, None)
    first = [piece for piece in layout if len(piece) == 3 and piece[1] == tools]
    others = [piece for piece in layout if piece not in first]
    return Found(fields, usual, _lay_out([*first, *others], given, lead))


def _before(layout: Sequence[Any], tools: str, given: Mapping[str, Text], lead: Text | None) -> bool:
    """Whether anything stands before the tools."""
    for piece in layout:
        if piece == LEAD:
            if lead is not None:
                return True
        elif piece[1] == tools:
            return False
        elif piece[1] in given:
            return True
    return False


def _lay_out(layout: Sequence[Any], given: Mapping[str, Text], lead: Text | None) -> Text:
    out = Text()
    for piece in layout:
        if isinstance(piece, bytes):
            out.push(piece)
        elif piece == LEAD:
            if lead is not None:
                out.append(lead)
        elif (text := given.get(piece[1])) is not None:
            out.push(piece[0])
            out.append(text)
            out.push(piece[2])
    return out


def _give(rule: Rule, raw: Raw) -> Text | None:
    kind = kind_of(raw)
    match rule[0]:
        case "choice":
            chosen = rule[1].get(kind)
            return None if chosen is None else _give(chosen, raw)
        case "raw":
            own = bytes(raw)
            return None if own in rule[1] else _said(own)
        case "text" if kind == "string":
            return _said(rule[1] + _STRING.decode(raw).encode() + rule[2])
        case "media" if kind in ("string", "object"):
            return _media(rule[1], raw, kind)
        case "list" if kind == "list":
            return _joined(rule[1], _LIST.decode(raw))
        case "object" if kind == "object":
            return _object(rule, raw)
        case "prompts" if kind == "string":
            return _said(_STRING.decode(raw).encode())
        case "prompts" if kind == "list":
            return _prompts(rule[1], raw)
    return None


def _said(text: bytes) -> Text:
    out = Text()
    out.push(text)
    return out


def _joined(rule: Rule, items: Sequence[Raw]) -> Text:
    out = Text()
    for item in items:
        if (text := _give(rule, item)) is not None:
            out.append(text)
    return out


def _turns(rule: Rule, raw: Raw) -> tuple[Text | None, Text | None]:
    """The lead, and the other turns."""
    if kind_of(raw) != "list":
        return None, None
    items = _LIST.decode(raw)
    first = _give(rule[1], items[0]) if items else None
    if first is not None and first.bytes().startswith(rule[2]):
        return first, _joined(rule[1], items[1:])
    return None, _joined(rule[1], items)


def _object(rule: Rule, raw: Raw) -> Text:
    members = _OBJECT.decode(raw)
    given: dict[str, Text] = {}
    for name, inner in rule[1].items():
        if name in members and (text := _give(inner, members[name])) is not None:
            given[name] = text
    return _lay_out(rule[2], given, None)


def _media(keys: Sequence[str], raw: Raw, kind: str) -> Text | None:
    references: Iterator[str | None] = iter([string(raw)])
    if kind == "object":
        members = _OBJECT.decode(raw)
        references = (string(members.get(key)) for key in keys)
    for reference in references:
        if reference:
            out = Text()
            out.show(reference)
            return out
    return None


def _prompts(separator: bytes, raw: Raw) -> Text:
    out = Text()
    for index, item in enumerate(_LIST.decode(raw)):
        kind = kind_of(item)
        if kind in ("string", "list"):
            if index:
                out.push(separator)
            out.push(_STRING.decode(item).encode() if kind == "string" else _ids(_LIST.decode(item)))
        elif kind == "other":
            out.push(_ids([item]))
    return out


def _ids(items: Sequence[Raw]) -> bytes:
    """Four bytes for each token id: as many as a token of text has on average."""
    ids = (count(item) for item in items)
    return b"".join([(token & 0xFFFFFFFF).to_bytes(4, "little") for token in ids if token is not None])


def media_tokens(text: Text) -> int:
    """Tokens that the images, sounds and files of a prompt count for."""
    return min(text.media, MOST_MEDIA) * MEDIA_TOKENS
