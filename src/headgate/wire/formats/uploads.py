"""Forms with files on every path, such as sound to transcribe or images to edit: the model alone."""

from headgate.wire.api import Format

FORMAT = Format(
    "other",
    (),
    {
        "model": "model",
        "stream": "stream",
        "salt": None,
        "limits": ("max_completion_tokens",),
        "need": {},
        "cached": False,
        "fields": {},
        "layout": (),
        "tools": None,
    },
    body="multipart",
)
