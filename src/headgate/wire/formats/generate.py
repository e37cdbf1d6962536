"""The engines' own generating paths: vLLM's and SGLang's `generate`, and SageMaker's `invocations`."""

from headgate.wire.api import Format
from headgate.wire.content import SESSIONS, TOOLS, TURN_ENDS, TURNS
from headgate.wire.counts import OPENAI, SGLANG, Answers
from headgate.wire.shape import LEAD

_PROMPTS = ("prompts", b"\x1e")
_MEDIA = ("media", ("url", "data"))
_MEDIA_LIST = ("choice", {"string": _MEDIA, "object": _MEDIA, "list": ("list", _MEDIA)})

FORMAT = Format(
    "generate",
    ("/generate", "/invocations"),
    {
        "model": "model",
        "stream": "stream",
        "salt": "cache_salt",
        "prior": (),
        "sessions": SESSIONS,
        "limits": (
            "max_completion_tokens",
            "max_tokens",
            "sampling_params.max_tokens",
            "sampling_params.max_new_tokens",
        ),
        "need": {},
        "cached": True,
        "fields": {
            "tools": TOOLS,
            "messages": TURNS,
            "image_data": _MEDIA_LIST,
            "audio_data": _MEDIA_LIST,
            "video_data": _MEDIA_LIST,
            "text": _PROMPTS,
            "prompt": _PROMPTS,
            "input_ids": _PROMPTS,
            "token_ids": _PROMPTS,
        },
        "layout": (
            LEAD,
            (b"", "tools", TURN_ENDS),
            (b"", "messages", b""),
            (b"", "image_data", b""),
            (b"", "audio_data", b""),
            (b"", "video_data", b""),
            (b"", "text", b""),
            (b"", "prompt", b""),
            (b"", "input_ids", b""),
            (b"", "token_ids", b""),
        ),
        "tools": "tools",
    },
    Answers(OPENAI, SGLANG, usage=("usage", "meta_info")),
)
