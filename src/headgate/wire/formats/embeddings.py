"""Embeddings and classes: prompts that are computed, but leave nothing in the KV cache."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS, TURNS
from headgate.wire.counts import OPENAI, TOTAL, Answers
from headgate.wire.shape import LEAD

_PROMPTS = ("prompts", b"\x1e")
_FIELDS = {"messages": TURNS, "input": _PROMPTS, "prompt": _PROMPTS, "texts": _PROMPTS}

FORMAT = Format(
    "pooling",
    ("/embeddings", "/embed", "/pooling", "/classify"),
    {
        "model": "model",
        "stream": "stream",
        "salt": None,
        "prior": (),
        "sessions": SESSIONS,
        "limits": (),
        "need": {},
        "cached": False,
        "fields": _FIELDS,
        "layout": (LEAD, *((b"", name, b"\x1e") for name in _FIELDS)),
        "tools": None,
    },
    Answers(OPENAI, TOTAL),
)
