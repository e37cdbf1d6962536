"""Anthropic Messages: system text, tools and turns are the prompt, with the bytes of the same chat."""

from headgate.wire.api import Format
from headgate.wire.content import CONTENT, SYSTEM, TOOLS, TURN_ENDS, TURNS
from headgate.wire.counts import ANTHROPIC, BEFORE_MESSAGES, Answers
from headgate.wire.shape import LEAD

FORMAT = Format(
    "messages",
    ("/v1/messages",),
    {
        "model": "model",
        "stream": "stream",
        "salt": "cache_salt",
        "prior": (),
        "sessions": ("metadata.user_id",),
        "limits": ("max_tokens",),
        "need": {},
        "cached": True,
        "fields": {"tools": TOOLS, "system": CONTENT, "messages": TURNS},
        "layout": (
            (SYSTEM[0], "system", TURN_ENDS),
            LEAD,
            (b"", "tools", TURN_ENDS),
            (b"", "messages", b""),
        ),
        "tools": "tools",
    },
    Answers(ANTHROPIC, within=("message",), tokenless=BEFORE_MESSAGES),
)
