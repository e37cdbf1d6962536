"""Forms with files on every other path, such as images to edit: what is read of sound, without an API."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS
from headgate.wire.counts import ANY

FORMAT = Format(
    "other",
    (),
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
    ANY,
    body="multipart",
)
