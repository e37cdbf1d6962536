"""JSON on every other path (`/tokenize`, `/v1/messages/count_tokens`, an adapter to load): the model
alone."""

from headgate.wire.api import Format
from headgate.wire.counts import ANY

FORMAT = Format(
    "other",
    (),
    {
        "model": "model",
        "stream": "stream",
        "salt": None,
        "prior": (),
        "sessions": (),
        "limits": (),
        "need": {},
        "cached": False,
        "fields": {},
        "layout": (),
        "tools": None,
    },
    ANY,
)
