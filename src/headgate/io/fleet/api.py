"""OpenAI request bodies to what an engine must do; a client's mistake is a value."""

import re
from typing import Annotated, Any, Literal

import msgspec

from headgate.io.fleet import text
from headgate.sim.presets import Preset
from headgate.sim.tokens import TOKEN_BYTES, count

Kind = Literal["chat", "completions"]


class ApiError(msgspec.Struct, frozen=True):
    """An answer that says what the client did wrong, with vLLM's status and type."""

    status: int
    message: str
    type: str = "BadRequestError"
    param: str | None = None

    def body(self) -> bytes:
        """The JSON the client gets."""
        error = {"message": self.message, "type": self.type, "param": self.param, "code": self.status}
        return msgspec.json.encode({"error": error})


class _StreamOptions(msgspec.Struct):
    include_usage: bool | None = None


class _Message(msgspec.Struct):
    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Any] | None = None

    def text(self) -> str:
        """All text of the message; what is not text counts by its JSON."""
        if isinstance(self.content, str):
            said = self.content
        else:
            parts = self.content or []
            said = "".join(p["text"] if isinstance(p.get("text"), str) else _json(p) for p in parts)
        return said + (_json(self.tool_calls) if self.tool_calls else "")


class _Sampling(msgspec.Struct, kw_only=True):
    model: str | None = None
    max_tokens: int | None = None
    min_tokens: int = 0
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = 1
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: _StreamOptions | None = None
    seed: int | None = None
    ignore_eos: bool = False


class _ChatBody(_Sampling):
    messages: Annotated[list[_Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: int | None = None
    tools: list[Any] | None = None


class _CompletionBody(_Sampling):
    prompt: str | list[Any]


class Choice(msgspec.Struct, frozen=True):
    """One answer to compute."""

    index: int
    prompt: bytes
    """Prompt tokens."""
    text: str
    """The whole answer, `TOKEN_BYTES` letters a token; the visible part may end earlier."""
    visible: int
    """Letters of `text` that the client sees: less than all when a stop string was met."""
    tokens: int
    """Tokens to generate."""
    finish_reason: Literal["stop", "length"]
    stop_reason: str | None

    def shown(self, tokens: int) -> int:
        """Letters the client may see after *tokens* tokens."""
        return min(tokens * TOKEN_BYTES, self.visible)


class Call(msgspec.Struct, frozen=True):
    """An understood request."""

    kind: Kind
    model: str
    stream: bool
    include_usage: bool
    choices: tuple[Choice, ...]
    prompt_tokens: int
    """Of all prompts; prompts count once however many answers each has."""
    answers_per_prompt: int


class Server(msgspec.Struct, frozen=True):
    """What a request is read against."""

    preset: Preset
    adapters: frozenset[str]
    seed: int
    answer_tokens: float


def read_call(kind: Kind, body: bytes, server: Server) -> Call | ApiError:
    """What *body* asks for, or what is wrong with it."""
    try:
        asked = _decode(kind, body)
    except msgspec.ValidationError as problem:
        return ApiError(400, str(problem), param=_field(str(problem)))
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return ApiError(400, f"There was an error parsing the body: {problem}")
    model = asked.model or server.preset.model
    if model != server.preset.model and model not in server.adapters:
        return ApiError(404, f"The model `{model}` does not exist.", "NotFoundError", "model")
    prompts = _prompts(asked)
    if isinstance(prompts, ApiError):
        return prompts
    limits = [_answer_limit(asked, kind, count(prompt), server.preset) for prompt in prompts]
    choices: list[Choice] = []
    n = asked.n or 1
    for number, (prompt, limit) in enumerate(zip(prompts, limits, strict=True)):
        if isinstance(limit, ApiError):
            return limit
        choices += [_choice(asked, prompt, limit, number * n + i, i, server) for i in range(n)]
    return Call(
        kind,
        model,
        bool(asked.stream),
        bool(asked.stream_options and asked.stream_options.include_usage),
        tuple(choices),
        sum(count(prompt) for prompt in prompts),
        n,
    )


def _decode(kind: Kind, body: bytes) -> _ChatBody | _CompletionBody:
    if kind == "chat":
        return msgspec.json.decode(body, type=_ChatBody)
    return msgspec.json.decode(body, type=_CompletionBody)


def _prompts(asked: _ChatBody | _CompletionBody) -> list[bytes] | ApiError:
    if isinstance(asked, _ChatBody):
        messages = [(message.role, message.text()) for message in asked.messages]
        if asked.tools:
            messages.insert(0, ("tools", _json(asked.tools)))
        return [text.chat_tokens(messages)]
    prompt = asked.prompt
    if isinstance(prompt, str):
        return [text.text_tokens(prompt)]
    if prompt and _are_ids(prompt):
        return [text.id_tokens(prompt)]
    if prompt and all(isinstance(one, str) for one in prompt):
        return [text.text_tokens(one) for one in prompt]
    if prompt and all(isinstance(one, list) and one and _are_ids(one) for one in prompt):
        return [text.id_tokens(one) for one in prompt]
    message = "prompt must be a string, a list of strings, a list of token ids or a list of such lists"
    return ApiError(400, message, param="prompt")


def _are_ids(values: list[Any]) -> bool:
    return all(type(value) is int and value >= 0 for value in values)


def _answer_limit(
    asked: _ChatBody | _CompletionBody, kind: Kind, prompt: int, preset: Preset
) -> int | ApiError:
    """Most tokens the answer may have."""
    limit = asked.max_tokens
    if isinstance(asked, _ChatBody) and asked.max_completion_tokens is not None:
        limit = asked.max_completion_tokens
    longest = preset.max_model_len
    if limit is not None and limit < 1:
        return ApiError(400, f"max_tokens must be at least 1, got {limit}.", param="max_tokens")
    if limit is None:
        limit = 16 if kind == "completions" else max(1, longest - prompt)
    if prompt + limit > longest:
        where = "messages" if kind == "chat" else "prompt"
        return ApiError(
            400,
            f"This model's maximum context length is {longest} tokens. However, you requested "
            f"{prompt + limit} tokens ({prompt} in the {where}, {limit} in the completion). "
            f"Please reduce the length of the {where} or completion.",
            param="messages" if kind == "chat" else "prompt",
        )
    return limit


def _choice(
    asked: _ChatBody | _CompletionBody, prompt: bytes, limit: int, index: int, nth: int, server: Server
) -> Choice:
    about = f"{server.seed}\0{asked.model or server.preset.model}\0{asked.seed}\0{nth}\0"
    key = about.encode() + prompt
    natural = max(text.answer_length(key, server.answer_tokens), asked.min_tokens)
    tokens = limit if asked.ignore_eos else min(natural, limit)
    answer = text.answer_text(key, tokens)
    reason: Literal["stop", "length"] = "length" if tokens == limit else "stop"
    stops = [asked.stop] if isinstance(asked.stop, str) else asked.stop or []
    ends = [(at, stop) for stop in stops if stop and (at := answer.find(stop)) >= 0]
    if not ends:
        return Choice(index, prompt, answer, len(answer), tokens, reason, None)
    at, stop = min(ends)
    needed = -(-(at + len(stop)) // TOKEN_BYTES)
    return Choice(index, prompt, answer, at, needed, "stop", stop)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _field(message: str) -> str | None:
    """The field that a validation error of msgspec names."""
    found = re.search(r"field `(\w+)`|`\$\.(\w+)", message)
    return (found[1] or found[2]) if found else None
