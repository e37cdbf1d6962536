"""What any JSON body says of itself, on a path that no format claims: `/v1/responses`, `/v1/messages`,
`/v1/embeddings`, `/rerank`, `/tokenize`, … A model name in such a body means what it means in a chat request.
"""

from typing import Any

import msgspec

from headgate.wire.api import Reading, token_limit

_NOTHING = msgspec.Raw()


class _Body(msgspec.Struct):
    model: Any = None
    stream: Any = None
    max_tokens: Any = None
    max_output_tokens: Any = None
    tools: msgspec.Raw = _NOTHING
    system: msgspec.Raw = _NOTHING
    instructions: msgspec.Raw = _NOTHING
    messages: msgspec.Raw = _NOTHING
    input: msgspec.Raw = _NOTHING
    prompt: msgspec.Raw = _NOTHING
    query: msgspec.Raw = _NOTHING
    documents: msgspec.Raw = _NOTHING


_DECODER = msgspec.json.Decoder(_Body)


def glance(raw: bytes) -> Reading | None:
    """Model, limits and the JSON text of whatever is a prompt; None for a body that names no model.

    The prompt's fields stand in the order in which engines use them, so that a longer conversation has the
    blocks of a shorter one but for the last.
    """
    try:
        body = _DECODER.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(body.model, str) or not body.model:
        return None
    fields = (
        body.tools,
        body.system,
        body.instructions,
        body.messages,
        body.input,
        body.prompt,
        body.query,
        body.documents,
    )
    return Reading(
        model=body.model,
        streaming=body.stream is True,
        prompt=b"\x1e".join([bytes(field) for field in fields if bytes(field)]),
        max_tokens=token_limit(body.max_output_tokens, body.max_tokens),
    )
