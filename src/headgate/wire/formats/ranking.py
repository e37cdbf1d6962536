"""Scores and ranks: a question and the texts that are held against it; nothing stays in the KV cache."""

from headgate.wire.api import Format
from headgate.wire.content import CONTENT, SESSIONS, TURNS
from headgate.wire.counts import OPENAI, TOTAL, Answers
from headgate.wire.shape import LEAD

_PROMPTS = ("prompts", b"\x1e")
_FIELDS = {
    "messages": TURNS,
    "input": _PROMPTS,
    "prompt": _PROMPTS,
    "query": CONTENT,
    "queries": CONTENT,
    "items": CONTENT,
    "documents": CONTENT,
    "text_1": CONTENT,
    "text_2": CONTENT,
    "data_1": CONTENT,
    "data_2": CONTENT,
}

FORMAT = Format(
    "pooling",
    ("/score", "/rerank"),
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
