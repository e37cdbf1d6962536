"""Sound to transcribe or to translate, in a form: model, whether it is streamed, token limit, session."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS
from headgate.wire.counts import OPENAI, RESPONSES, Answers

FORMAT = Format(
    "audio",
    ("/v1/audio/transcriptions", "/v1/audio/translations"),
    {
        "model": "model",
        "stream": "stream",
        "salt": None,
        "prior": (),
        "sessions": SESSIONS,
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
