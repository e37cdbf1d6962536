"""A `/v1/models` answer → model cards. The same for every engine that speaks OpenAI's API."""

import itertools
from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.model.bounds import MODEL_NAME_BYTES, fits
from headgate.model.load import ModelCard, bases_first

MOST_MODELS = 2000
"""Entries of one list; those after are left out."""
LONGEST_CONTEXT = 1 << 31
"""Tokens; a larger `max_model_len`, or one below 1, is not believed."""


REST_BYTES = 4096
"""Fields of one entry that we do not know, as JSON; more than that, and all of them are left out."""
KNOWN = frozenset({"id", "object", "owned_by", "root", "parent", "max_model_len"})


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


class _Card(msgspec.Struct):
    id: str
    owned_by: str | None = None
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


_DECODER = msgspec.json.Decoder(_Models)


def read_models(body: bytes) -> tuple[ModelCard, ...]:
    """The entries of a `/v1/models` answer: base models, then adapters, each in the engine's order.

    Entries whose name is empty or too long are left out.

    Raises:
        ValueError: it is no such answer.
    """
    try:
        listed = [(msgspec.convert(entry, _Card), entry) for entry in _DECODER.decode(body).data]
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    named = [each for each in listed if each[0].id and fits(each[0].id, MODEL_NAME_BYTES)]
    return bases_first(itertools.starmap(_read, named[:MOST_MODELS]))


def _read(card: _Card, entry: Mapping[str, Any]) -> ModelCard:
    longest = card.max_model_len
    return ModelCard(
        id=card.id,
        owned_by=_name(card.owned_by) or "",
        root=_name(card.root),
        parent=_name(card.parent),
        max_model_len=longest if longest is not None and 1 <= longest <= LONGEST_CONTEXT else None,
        rest=_rest({key: value for key, value in entry.items() if key not in KNOWN}),
    )


def _rest(fields: Mapping[str, Any]) -> bytes:
    written = msgspec.json.encode(fields) if fields else b""
    return written if len(written) <= REST_BYTES else b""


def _name(text: str | None) -> str | None:
    return text if text is not None and fits(text, MODEL_NAME_BYTES) else None
