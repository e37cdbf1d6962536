"""OpenAI conversations that are begun: nothing to compute, but an id under which a server keeps them."""

from headgate.wire.api import Format
from headgate.wire.counts import Answers

FORMAT = Format(
    "other",
    ("/v1/conversations",),
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
    Answers(stored=True),
)
