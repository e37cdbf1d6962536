"""OpenAI request bodies to what an engine must do; a client's mistake is a value."""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from headgate.io.fleet import text
from headgate.sim.presets import Preset
from headgate.sim.tokens import TOKEN_BYTES, count

T = TypeVar("T")

Kind = Literal["chat", "completions", "responses"]


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


class StreamOptions(msgspec.Struct):
    """What a stream tells besides its text."""

    include_usage: bool | None = None


class Message(msgspec.Struct):
    """A turn."""

    role: str
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[Any] | None = None

    def text(self) -> str:
        """All text of the message; what is not text counts by its JSON."""
        if isinstance(self.content, str):
            said = self.content
        else:
            parts = self.content or []
            said = "".join(p["text"] if isinstance(p.get("text"), str) else as_json(p) for p in parts)
        return said + (as_json(self.tool_calls) if self.tool_calls else "")


class Sampling(msgspec.Struct, kw_only=True):
    """What bodies of every kind may say."""

    model: str | None = None
    max_tokens: int | None = None
    min_tokens: int = 0
    n: Annotated[int, msgspec.Meta(ge=1, le=128)] | None = 1
    stop: str | list[str] | None = None
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    seed: int | None = None
    ignore_eos: bool = False


class _ChatBody(Sampling):
    messages: Annotated[list[Message], msgspec.Meta(min_length=1)]
    max_completion_tokens: int | None = None
    tools: list[Any] | None = None


class _CompletionBody(Sampling):
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
    asked = read_body(body, _ChatBody) if kind == "chat" else read_body(body, _CompletionBody)
    if isinstance(asked, ApiError):
        return asked
    if (unknown := unknown_model(asked, server)) is not None:
        return unknown
    prompts = _prompts(asked)
    if isinstance(prompts, ApiError):
        return prompts
    limit = asked.max_tokens
    if isinstance(asked, _ChatBody) and asked.max_completion_tokens is not None:
        limit = asked.max_completion_tokens
    return make_call(kind, asked, prompts, limit, server)


def unknown_model(asked: Sampling, server: Server) -> ApiError | None:
    """What is wrong with the model's name."""
    model = asked.model or server.preset.model
    if model == server.preset.model or model in server.adapters:
        return None
    return ApiError(404, f"The model `{model}` does not exist.", "NotFoundError", "model")


def make_call(
    kind: Kind, asked: Sampling, prompts: Sequence[bytes], limit: int | None, server: Server
) -> Call | ApiError:
    """An answer of at most *limit* tokens to each prompt; None: of no limit that is said."""
    limits = [_answer_limit(limit, kind, count(prompt), server.preset) for prompt in prompts]
    choices: list[Choice] = []
    n = asked.n or 1
    for number, (prompt, most) in enumerate(zip(prompts, limits, strict=True)):
        if isinstance(most, ApiError):
            return most
        choices += [_choice(asked, prompt, most, number * n + i, i, server) for i in range(n)]
    return Call(
        kind,
        asked.model or server.preset.model,
        bool(asked.stream),
        bool(asked.stream_options and asked.stream_options.include_usage),
        tuple(choices),
        sum(count(prompt) for prompt in prompts),
        n,
    )


def read_body(body: bytes, kind: type[T]) -> T | ApiError:
    """A body of JSON."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as problem:
        return ApiError(400, str(problem), param=_field(str(problem)))
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        return ApiError(400, f"There was an error parsing the body: {problem}")


def _prompts(asked: _ChatBody | _CompletionBody) -> list[bytes] | ApiError:
    if isinstance(asked, _ChatBody):
        messages = [(message.role, message.text()) for message in asked.messages]
        if asked.tools:
            messages.insert(0, ("tools", as_json(asked.tools)))
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


_PROMPTS: Mapping[Kind, tuple[str, str]] = {
    "chat": ("messages", "max_tokens"),
    "completions": ("prompt", "max_tokens"),
    "responses": ("input", "max_output_tokens"),
}
"""The fields of the prompt and of the token limit."""


def _answer_limit(limit: int | None, kind: Kind, prompt: int, preset: Preset) -> int | ApiError:
    """Most tokens the answer may have."""
    longest = preset.max_model_len
    where, field = _PROMPTS[kind]
    if limit is not None and limit < 1:
        return ApiError(400, f"{field} must be at least 1, got {limit}.", param=field)
    if limit is None:
        limit = 16 if kind == "completions" else max(1, longest - prompt)
    if prompt + limit > longest:
        return ApiError(
            400,
            f"This model's maximum context length is {longest} tokens. However, you requested "
            f"{prompt + limit} tokens ({prompt} in the {where}, {limit} in the completion). "
            f"Please reduce the length of the {where} or completion.",
            param=where,
        )
    return limit


def _choice(asked: Sampling, prompt: bytes, limit: int, index: int, nth: int, server: Server) -> Choice:
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


def as_json(value: Any) -> str:
    """What is not text counts by this."""
    return msgspec.json.encode(value).decode()


def _field(message: str) -> str | None:
    """The field that a validation error of msgspec names."""
    found = re.search(r"field `(\w+)`|`\$\.(\w+)", message)
    return (found[1] or found[2]) if found else None
