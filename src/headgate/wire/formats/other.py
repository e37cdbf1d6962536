"""JSON on every other path (`/tokenize`, `/v1/messages/count_tokens`, an adapter to load): the model
alone."""

from headgate.wire.api import Format
from headgate.wire.content import MODEL_ALONE
from headgate.wire.counts import ANY

FORMAT = Format(
    "other",
    (),
    MODEL_ALONE,
    ANY,
)
