"""A `/v1/models` answer → model cards. The same for every engine that speaks OpenAI's API."""

import msgspec

from headgate.model.bounds import MODEL_NAME_BYTES, fits
from headgate.model.load import ModelCard

MOST_MODELS = 2000
"""Entries of one list; those after are left out."""
LONGEST_CONTEXT = 1 << 31
"""Tokens; a larger `max_model_len`, or one below 1, is not believed."""


class _Card(msgspec.Struct):
    id: str
    owned_by: str | None = None
    root: str | None = None
    parent: str | None = None
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    data: list[_Card]


_DECODER = msgspec.json.Decoder(_Models)


def read_models(body: bytes) -> tuple[ModelCard, ...]:
    """The entries of a `/v1/models` answer, ordered by id; without entries whose name is empty or too long.

    Raises:
        ValueError: it is no such answer.
    """
    try:
        listed = _DECODER.decode(body).data
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    named = [card for card in listed if card.id and fits(card.id, MODEL_NAME_BYTES)]
    return tuple(sorted(map(_read, named[:MOST_MODELS]), key=lambda card: card.id))


def _read(card: _Card) -> ModelCard:
    longest = card.max_model_len
    return ModelCard(
        id=card.id,
        owned_by=_name(card.owned_by) or "",
        root=_name(card.root),
        parent=_name(card.parent),
        max_model_len=longest if longest is not None and 1 <= longest <= LONGEST_CONTEXT else None,
    )


def _name(text: str | None) -> str | None:
    return text if text is not None and fits(text, MODEL_NAME_BYTES) else None
