"""OpenAI completions: the prompt is text, a list of texts, token ids or lists of token ids, or embeddings."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS
from headgate.wire.counts import OPENAI, PROGRESS, Answers

_EMBEDS = ("media", ())
_KINDS = ("string", "list")

FORMAT = Format(
    "completions",
    ("/v1/completions",),
    {
        "model": "model",
        "stream": "stream",
        "salt": "cache_salt",
        "prior": (),
        "sessions": SESSIONS,
        "limits": ("max_tokens",),
        "need": {"prompt": _KINDS, "prompt_embeds": _KINDS},
        "cached": True,
        "fields": {
            "prompt": ("prompts", b"\x1e"),
            "prompt_embeds": ("choice", {"string": _EMBEDS, "list": ("list", _EMBEDS)}),
        },
        "layout": ((b"", "prompt", b""), (b"", "prompt_embeds", b"")),
        "tools": None,
    },
    Answers(OPENAI, tokenless=PROGRESS),
)
