"""OpenAI Responses: instructions, tools and input items are the prompt, with the bytes of the same chat."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS, SYSTEM, TOOLS, TURN_ENDS, TURNS
from headgate.wire.counts import BEFORE_RESPONSES, RESPONSES, Answers
from headgate.wire.shape import LEAD

FORMAT = Format(
    "responses",
    ("/v1/responses",),
    {
        "model": "model",
        "stream": "stream",
        "salt": "cache_salt",
        "prior": ("previous_response_id", "conversation", "conversation.id"),
        "sessions": SESSIONS,
        "limits": ("max_output_tokens",),
        "need": {},
        "cached": True,
        "fields": {
            "tools": TOOLS,
            "instructions": ("text", SYSTEM[0], TURN_ENDS),
            "input": ("choice", {"string": ("text", b"user\x1f", TURN_ENDS), "list": TURNS}),
        },
        "layout": (
            (b"", "instructions", b""),
            LEAD,
            (b"", "tools", TURN_ENDS),
            (b"", "input", b""),
        ),
        "tools": "tools",
    },
    Answers(RESPONSES, within=("response",), stored=True, tokenless=BEFORE_RESPONSES),
)
