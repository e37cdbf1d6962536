"""OpenAI completions: the prompt is text, a list of texts, token ids or lists of token ids."""

from array import array
from typing import Any

import msgspec

from headgate.wire.api import BadRequest, Format, Reading, model_name, token_limit


class _Body(msgspec.Struct):
    model: Any = msgspec.UNSET
    prompt: Any = None
    prompt_embeds: msgspec.Raw = msgspec.Raw()
    stream: Any = None
    max_tokens: Any = None


_DECODER = msgspec.json.Decoder(_Body)


def _ids(ids: list[Any]) -> bytes:
    """Four bytes for each token id: as many as a token of text has on average."""
    return array("I", [token & 0xFFFFFFFF for token in ids if isinstance(token, int)]).tobytes()


def prompt_bytes(prompt: Any) -> bytes:
    """Prompt bytes of any of the shapes the API allows; several prompts are joined by a record separator."""
    if isinstance(prompt, str):
        return prompt.encode()
    if not isinstance(prompt, list):
        return b""
    if prompt and isinstance(prompt[0], int):
        return _ids(prompt)
    parts = (p.encode() if isinstance(p, str) else _ids(p) if isinstance(p, list) else b"" for p in prompt)
    return b"\x1e".join(parts)


def read(raw: bytes) -> Reading | BadRequest:
    """Reads a completions body; raises `msgspec.DecodeError` when it is not one."""
    body = _DECODER.decode(raw)
    model = model_name(body.model)
    if isinstance(model, BadRequest):
        return model
    if body.prompt is None and not bytes(body.prompt_embeds):
        return BadRequest("you must provide a prompt", "prompt")
    if body.prompt is not None and not isinstance(body.prompt, (str, list)):
        return BadRequest("prompt must be a string or a list", "prompt")
    return Reading(
        model=model,
        streaming=body.stream is True,
        prompt=prompt_bytes(body.prompt),
        max_tokens=token_limit(body.max_tokens),
    )


_SHAPE = {
    "model": "model",
    "stream": "stream",
    "limits": ("max_tokens",),
    "need": "prompt",
    "fields": {"prompt": ("choice", {"string": ("string",), "list": ("prompts", b"\x1e")})},
    "layout": (("prompt", b""),),
}

FORMAT = Format("completions", ("/v1/completions",), read, _SHAPE)
