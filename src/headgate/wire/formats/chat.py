"""OpenAI chat completions: the system turn, the tools, then the other turns are the prompt."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS, TOOLS, TURN_ENDS, TURNS
from headgate.wire.counts import OPENAI, PROGRESS, Answers
from headgate.wire.shape import LEAD

SHAPE = {
    "model": "model",
    "stream": "stream",
    "salt": "cache_salt",
    "prior": (),
    "sessions": SESSIONS,
    "limits": ("max_completion_tokens", "max_tokens"),
    "need": {"messages": ("list",)},
    "cached": True,
    "fields": {"tools": TOOLS, "messages": TURNS},
    "layout": (LEAD, (b"", "tools", TURN_ENDS), (b"", "messages", b"")),
    "tools": "tools",
}

FORMAT = Format("chat", ("/v1/chat/completions",), SHAPE, Answers(OPENAI, tokenless=PROGRESS))
