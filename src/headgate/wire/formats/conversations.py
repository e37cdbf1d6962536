"""OpenAI conversations that are begun: nothing to compute, but an id under which a server keeps them."""

from headgate.wire.api import Format
from headgate.wire.content import MODEL_ALONE
from headgate.wire.counts import Answers

FORMAT = Format(
    "other",
    ("/v1/conversations",),
    MODEL_ALONE,
    Answers(stored=True),
)
