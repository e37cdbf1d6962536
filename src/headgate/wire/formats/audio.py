"""Sound to transcribe or to translate, in a form: its model, whether it is streamed, and the token limit."""

from headgate.wire.api import Format
from headgate.wire.counts import OPENAI, RESPONSES, Answers

FORMAT = Format(
    "audio",
    ("/v1/audio/transcriptions", "/v1/audio/translations"),
    {
        "model": "model",
        "stream": "stream",
        "salt": None,
        "prior": (),
        "sessions": (),
        "limits": ("max_completion_tokens",),
        "need": {},
        "cached": False,
        "fields": {},
        "layout": (),
        "tools": None,
    },
    Answers(RESPONSES, OPENAI),
    body="multipart",
)
