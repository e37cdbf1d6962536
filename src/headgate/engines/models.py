"""A `/v1/models` answer → model cards. The same for every engine that speaks OpenAI's API."""

import msgspec

from headgate.model.load import ModelCard


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
    """The entries of a `/v1/models` answer, ordered by id.

    Raises:
        msgspec.DecodeError: it is no such answer.
    """
    cards = (
        ModelCard(card.id, card.owned_by or "", card.root, card.parent, card.max_model_len)
        for card in _DECODER.decode(body).data
    )
    return tuple(sorted(cards, key=lambda card: card.id))
