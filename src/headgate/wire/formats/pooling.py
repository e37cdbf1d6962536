"""Embeddings, scores, ranks and classes: prompts that are computed, but leave nothing in the KV cache."""

from headgate.wire.api import Format
from headgate.wire.content import CONTENT, TURNS
from headgate.wire.shape import LEAD

_PROMPTS = ("prompts", b"\x1e")
_FIELDS = {
    "messages": TURNS,
    "input": _PROMPTS,
    "prompt": _PROMPTS,
    "texts": _PROMPTS,
    "query": CONTENT,
    "queries": CONTENT,
    "documents": CONTENT,
    "text_1": CONTENT,
    "text_2": CONTENT,
    "data_1": CONTENT,
    "data_2": CONTENT,
}

FORMAT = Format(
    "pooling",
    ("/embeddings", "/embed", "/pooling", "/classify", "/score", "/rerank"),
    {
        "model": "model",
        "stream": "stream",
        "salt": None,
        "limits": (),
        "need": {},
        "cached": False,
        "fields": _FIELDS,
        "layout": (LEAD, *((b"", name, b"\x1e") for name in _FIELDS)),
        "tools": None,
    },
)
