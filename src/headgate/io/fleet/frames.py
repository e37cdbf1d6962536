"""Answers as vLLM writes them: SSE frames, whole JSON bodies, model cards."""

from typing import Any

import msgspec

from headgate.io.fleet.api import Call, Choice

DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.encode


def usage(prompt_tokens: int, completion_tokens: int, cached_tokens: int) -> dict[str, Any]:
    """The usage object."""
    return {
        "prompt_tokens": prompt_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
        "completion_tokens": completion_tokens,
        "prompt_tokens_details": {"cached_tokens": cached_tokens},
    }


class Frames:
    """One answer, in SSE frames or whole."""

    begin = b""
    """Before the first token."""
    end = DONE
    """Behind the last frame."""

    def __init__(self, call: Call, id: str, created: int) -> None:  # noqa: A002 - the API's word
        self._call, self._id, self._created = call, id, created
        self._chat = call.kind == "chat"
        kind = "chat.completion.chunk" if self._chat else "text_completion"
        head = {"id": id, "object": kind, "created": created, "model": call.model}
        self._head = b"data: " + _encode(head)[:-1]

    def keep(self, kept: object, counts: dict[str, Any]) -> None:
        """Nothing is kept of these answers."""

    def role(self, choice: Choice) -> bytes:
        """The frame that opens a chat answer; nothing for completions."""
        if not self._chat:
            return b""
        return (
            self._head + b',"choices":[{"index":%d,"delta":{"role":"assistant","content":""}' % choice.index
            + b',"logprobs":null,"finish_reason":null}]}\n\n'
        )  # fmt: skip

    def text(self, choice: Choice, text: str, last: bool) -> bytes:
        """A piece of the answer; the last one tells why it ended."""
        reason = _encode(choice.finish_reason) if last else b"null"
        if self._chat:
            body = b'"delta":{"content":%b},"logprobs":null,"finish_reason":%b' % (_encode(text), reason)
            if last:
                body += b',"stop_reason":' + _encode(choice.stop_reason)
        else:
            stop = _encode(choice.stop_reason) if last else b"null"
            body = b'"text":%b,"logprobs":null,"finish_reason":%b,"stop_reason":%b' % (
                _encode(text),
                reason,
                stop,
            )
        return self._head + b',"choices":[{"index":%d,' % choice.index + body + b"}]}\n\n"

    def usage(self, counts: dict[str, Any]) -> bytes:
        """The frame with the token counts, for clients that asked for it."""
        return self._head + b',"choices":[],"usage":' + _encode(counts) + b"}\n\n"

    def whole(self, counts: dict[str, Any]) -> bytes:
        """The body of an answer that is not streamed."""
        call, chat = self._call, self._chat
        body = {
            "id": self._id,
            "object": "chat.completion" if chat else "text_completion",
            "created": self._created,
            "model": call.model,
            "choices": [_chat_choice(choice) if chat else _text_choice(choice) for choice in call.choices],
            "service_tier": None,
            "system_fingerprint": None,
            "usage": counts,
            "kv_transfer_params": None,
        }
        return _encode(body)


def _chat_choice(choice: Choice) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": choice.text[: choice.visible],
        "refusal": None,
        "annotations": None,
        "audio": None,
        "function_call": None,
        "tool_calls": [],
        "reasoning_content": None,
    }
    return {"index": choice.index, "message": message, "logprobs": None, **_ending(choice)}


def _text_choice(choice: Choice) -> dict[str, Any]:
    return {
        "index": choice.index,
        "text": choice.text[: choice.visible],
        "logprobs": None,
        **_ending(choice),
        "prompt_logprobs": None,
    }


def _ending(choice: Choice) -> dict[str, Any]:
    return {"finish_reason": choice.finish_reason, "stop_reason": choice.stop_reason}


def model_card(
    name: str, created: int, root: str, parent: str | None, max_model_len: int | None
) -> dict[str, Any]:
    """One entry of `/v1/models`; an adapter has a parent and no length of its own."""
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": max_model_len,
        "permission": [],
    }
