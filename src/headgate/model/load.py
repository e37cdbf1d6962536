"""What one scrape of one endpoint says, engine names already removed."""

from collections.abc import Iterable
from typing import Any

import msgspec


class Load(msgspec.Struct, frozen=True):
    """One scrape of one endpoint. A field is None when the engine did not report it."""

    engine: str
    """`vllm`, `sglang`, …"""
    waiting: int
    """Requests queued in the engine."""
    running: int
    """Requests in the running batch."""
    kv_used: float | None = None
    """Fraction of KV-cache blocks in use, 0..1."""
    block_tokens: int | None = None
    """Tokens per KV block."""
    kv_blocks: int | None = None
    """KV blocks in all."""
    loras_running: tuple[str, ...] = ()
    loras_waiting: tuple[str, ...] = ()
    lora_limit: int | None = None
    asleep: bool = False
    """The engine was put to sleep: it keeps no KV cache and answers nothing until it is woken."""
    progress: float | None = None
    """A number that grows whenever the engine does any work (prompt + generated tokens so far)."""
    started: float | None = None
    """When its process began, by its own clock: seconds since 1970."""


class ModelCard(msgspec.Struct, frozen=True):
    """One entry of an endpoint's `/v1/models`."""

    id: str
    owned_by: str = ""
    root: str | None = None
    parent: str | None = None
    """The base model of a LoRA adapter."""
    max_model_len: int | None = None
    rest: bytes = b""
    """Every other field of the entry (`created`, `permission`, …): a JSON object; empty: there is none."""


def entry(card: ModelCard) -> dict[str, Any]:
    """The card as an entry of a `/v1/models`, with every field of the engine's."""
    return {
        "id": card.id,
        "object": "model",
        "created": 0,
        **(msgspec.json.decode(card.rest) if card.rest else {}),
        "owned_by": card.owned_by,
        "root": card.root,
        "parent": card.parent,
        "max_model_len": card.max_model_len,
    }


def bases_first(cards: Iterable[ModelCard]) -> tuple[ModelCard, ...]:
    """Base models before adapters, otherwise as given: clients take the first for *the* model."""
    return tuple(sorted(cards, key=lambda card: card.parent is not None))
