"""The Responses API: bodies, answers in frames or whole, and what a server keeps of both in its memory.

As vLLM does it with `VLLM_ENABLE_RESPONSES_API_STORE=1`; conversations that have an id are as other servers
have them.
"""

import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from headgate.io.fleet import text
from headgate.io.fleet.api import (
    ApiError,
    Call,
    Choice,
    Message,
    Sampling,
    Server,
    StreamOptions,
    as_json,
    make_call,
    read_body,
    unknown_model,
)

MOST_KEPT = 10_000
"""Answers and conversations that a server keeps."""
MOST_LETTERS = 64 * 1024 * 1024
"""Of the texts in them together; what is oldest is forgotten first."""

Turn = tuple[str, str]
"""Role and text; of an item that is no message, its type and its JSON."""
ROLES = ("user", "assistant", "system", "developer")
MOST_SHOWN = 100
"""Items of a conversation in one answer."""

_encode = msgspec.json.encode


class _Named(msgspec.Struct):
    id: str


class _Body(Sampling):
    input: str | Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1)]
    instructions: str | None = None
    max_output_tokens: int | None = None
    tools: list[Any] | None = None
    previous_response_id: str | None = None
    conversation: str | _Named | None = None
    store: bool | None = True


class _Begun(msgspec.Struct):
    items: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=20)] | None = None


class _Added(msgspec.Struct):
    items: Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=20)]


class Kept:
    """What a server keeps, by id; a restart forgets it."""

    def __init__(self, most: int = MOST_KEPT, most_letters: int = MOST_LETTERS) -> None:
        self._most = most
        self._most_letters = most_letters
        self._found: dict[str, tuple[dict[str, Any], tuple[Turn, ...]]] = {}
        self._letters = 0

    def __len__(self) -> int:
        return len(self._found)

    def put(self, id_: str, shown: dict[str, Any], turns: Sequence[Turn]) -> None:
        """Keep an answer or a conversation: what is shown of it, and all its turns."""
        self.forget(id_)
        self._found[id_] = shown, tuple(turns)
        self._letters += _letters(turns)
        while len(self._found) > self._most or self._letters > self._most_letters:
            self.forget(next(iter(self._found)))

    def shown(self, id_: str) -> dict[str, Any] | ApiError:
        """What clients see of it."""
        found = self._found.get(id_)
        return _absent(id_) if found is None else found[0]

    def turns(self, id_: str) -> tuple[Turn, ...] | ApiError:
        """What was said until its end."""
        found = self._found.get(id_)
        return _absent(id_) if found is None else found[1]

    def forget(self, id_: str) -> None:
        """Keep it no longer."""
        found = self._found.pop(id_, None)
        if found is not None:
            self._letters -= _letters(found[1])

    def clear(self) -> None:
        """Keep nothing."""
        self._found.clear()
        self._letters = 0


def _letters(turns: Sequence[Turn]) -> int:
    return sum(len(role) + len(said) for role, said in turns)


def _absent(id_: str) -> ApiError:
    return ApiError(404, f"Response with id '{id_[:100]}' not found.", "invalid_request_error", "response_id")


class Asked(msgspec.Struct, frozen=True):
    """An understood request."""

    call: Call
    turns: tuple[Turn, ...]
    """All that was said before the answer, without the instructions."""
    previous: str | None
    conversation: str | None
    kept: bool
    """Whether the answer is to be kept."""


def read_response(body: bytes, server: Server, kept: Kept) -> Asked | ApiError:
    """What *body* asks for, or what is wrong with it."""
    asked = read_body(body, _Body)
    if isinstance(asked, ApiError):
        return asked
    if (unknown := unknown_model(asked, server)) is not None:
        return unknown
    named = asked.conversation
    conversation = named.id if isinstance(named, _Named) else named
    if conversation is not None and asked.previous_response_id is not None:
        return ApiError(400, "Only one of previous_response_id and conversation can be used.")
    turns: list[Turn] = []
    for id_ in (asked.previous_response_id, conversation):
        if id_ is not None:
            before = kept.turns(id_)
            if isinstance(before, ApiError):
                return before
            turns += before
    turns += [("user", asked.input)] if isinstance(asked.input, str) else map(_turn, asked.input)
    messages = list(turns)
    if asked.instructions:
        messages.insert(0, ("system", asked.instructions))
    if asked.tools:
        messages.insert(0, ("tools", as_json(asked.tools)))
    asked.n = 1
    asked.stream_options = StreamOptions(include_usage=True)
    call = make_call("responses", asked, [text.chat_tokens(messages)], asked.max_output_tokens, server)
    if isinstance(call, ApiError):
        return call
    return Asked(call, tuple(turns), asked.previous_response_id, conversation, asked.store is not False)


def _turn(item: dict[str, Any]) -> Turn:
    """An item of the input; what is no message counts by its JSON."""
    role = item.get("role")
    if role not in ROLES:
        return str(item.get("type", "item")), as_json(item)
    content = item.get("content")
    if not isinstance(content, str) and not (
        isinstance(content, list) and all(isinstance(part, dict) for part in content)
    ):
        return role, as_json(content)
    return role, Message(role, content).text()


def new_conversation(kept: Kept, body: bytes, created: int) -> dict[str, Any] | ApiError:
    """Begins one with the items that *body* names, if it names any."""
    asked = read_body(body or b"{}", _Begun)
    if isinstance(asked, ApiError):
        return asked
    id_ = f"conv_{uuid.uuid4().hex}"
    shown = {"id": id_, "object": "conversation", "created_at": created, "metadata": {}}
    kept.put(id_, shown, [_turn(item) for item in asked.items or ()])
    return shown


def add_items(kept: Kept, id_: str, body: bytes) -> dict[str, Any] | ApiError:
    """Puts the items that *body* names behind what a conversation has; those alone are shown."""
    shown, turns = kept.shown(id_), kept.turns(id_)
    if isinstance(shown, ApiError) or isinstance(turns, ApiError):
        return _absent(id_)
    asked = read_body(body, _Added)
    if isinstance(asked, ApiError):
        return asked
    kept.put(id_, shown, (*turns, *map(_turn, asked.items)))
    return _page(_items(kept, id_)[len(turns) :], more=False)


def list_items(kept: Kept, id_: str, query: Mapping[str, str]) -> dict[str, Any] | ApiError:
    """What a conversation has, the newest first: `order`, `limit` and `after` of *query* say otherwise."""
    if isinstance(turns := kept.turns(id_), ApiError):
        return turns
    limit = query.get("limit", "20")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:4]) <= MOST_SHOWN):
        return ApiError(400, f"limit must be from 1 to {MOST_SHOWN}.", param="limit")
    items = _items(kept, id_)
    if query.get("order", "desc") == "desc":
        items.reverse()
    ids = [each["id"] for each in items]
    start = ids.index(query["after"]) + 1 if query.get("after") in ids else 0
    end = start + int(limit)
    return _page(items[start:end], more=end < len(items))


def one_item(kept: Kept, id_: str, item: str) -> dict[str, Any] | ApiError:
    """An item of a conversation."""
    if isinstance(turns := kept.turns(id_), ApiError):
        return turns
    found = [each for each in _items(kept, id_) if each["id"] == item]
    return found[0] if found else ApiError(404, f"Item with id '{item[:100]}' not found.", param="item_id")


def _items(kept: Kept, id_: str) -> list[dict[str, Any]]:
    turns = kept.turns(id_)
    assert not isinstance(turns, ApiError)
    return [_item(f"msg_{number}_{id_}", *turn) for number, turn in enumerate(turns)]


def _item(id_: str, role: str, said: str) -> dict[str, Any]:
    if role not in ROLES:
        return {**msgspec.json.decode(said, type=dict[str, Any]), "id": id_}
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": said}
    return {"id": id_, "type": "message", "status": "completed", "role": role, "content": [part]}


def _page(items: list[dict[str, Any]], *, more: bool) -> dict[str, Any]:
    ends = {"first_id": items[0]["id"], "last_id": items[-1]["id"]} if items else {}
    return {"object": "list", "data": items, "has_more": more, **ends}


class Frames:
    """One answer, in SSE frames or whole."""

    end = b""
    """Behind the last frame."""

    def __init__(self, asked: Asked, created: int) -> None:
        self.id = f"resp_{uuid.uuid4().hex}"
        self._asked = asked
        self._created = created
        self._item = f"msg_{uuid.uuid4().hex}"
        self._number = 0

        self.begin = self._begin()
        """Before the first token."""

    def keep(self, kept: Kept, counts: dict[str, Any]) -> None:
        """The server keeps the answer, and the conversation with it."""
        asked = self._asked
        (choice,) = asked.call.choices
        turns = (*asked.turns, ("assistant", choice.text[: choice.visible]))
        if asked.kept:
            kept.put(self.id, self.whole_shown(counts), turns)
        if asked.conversation is not None:
            shown = kept.shown(asked.conversation)
            if not isinstance(shown, ApiError):  # deleted meanwhile
                kept.put(asked.conversation, shown, turns)

    def _begin(self) -> bytes:
        shown = self.shown("in_progress", [], None)
        return self._event("response.created", response=shown) + self._event(
            "response.in_progress", response=shown
        )

    def role(self, choice: Choice) -> bytes:
        """The frames that open the text."""
        item = {**self._message(choice, ""), "status": "in_progress", "content": []}
        part = {"type": "output_text", "text": "", "annotations": []}
        return self._event("response.output_item.added", output_index=0, item=item) + self._of_part(
            "response.content_part.added", part=part
        )

    def text(self, choice: Choice, text: str, last: bool) -> bytes:
        """A piece of the answer; with the last one it is told whole."""
        out = self._of_part("response.output_text.delta", delta=text, logprobs=[]) if text else b""
        if not last:
            return out
        said = choice.text[: choice.visible]
        item = self._message(choice, said)
        out += self._of_part("response.output_text.done", text=said, logprobs=[])
        out += self._of_part("response.content_part.done", part=item["content"][0])
        return out + self._event("response.output_item.done", output_index=0, item=item)

    def usage(self, counts: dict[str, Any]) -> bytes:
        """The frame with the whole answer and the token counts."""
        shown = self.whole_shown(counts)
        return self._event(f"response.{shown['status']}", response=shown)

    def whole(self, counts: dict[str, Any]) -> bytes:
        """The body of an answer that is not streamed."""
        return _encode(self.whole_shown(counts))

    def whole_shown(self, counts: dict[str, Any]) -> dict[str, Any]:
        """The answer as it is kept, with counts as of chat completions."""
        (choice,) = self._asked.call.choices
        usage = {
            "input_tokens": counts["prompt_tokens"],
            "input_tokens_details": {"cached_tokens": counts["prompt_tokens_details"]["cached_tokens"]},
            "output_tokens": counts["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": counts["total_tokens"],
        }
        status = "incomplete" if choice.finish_reason == "length" else "completed"
        return self.shown(status, [self._message(choice, choice.text[: choice.visible])], usage)

    def shown(
        self, status: str, output: list[dict[str, Any]], usage: dict[str, Any] | None
    ) -> dict[str, Any]:
        """The answer's object."""
        asked = self._asked
        return {
            "id": self.id,
            "object": "response",
            "created_at": self._created,
            "status": status,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "model": asked.call.model,
            "output": output,
            "parallel_tool_calls": True,
            "previous_response_id": asked.previous,
            "conversation": None if asked.conversation is None else {"id": asked.conversation},
            "store": asked.kept,
            "tool_choice": "auto",
            "tools": [],
            "usage": usage,
        }

    def _message(self, choice: Choice, said: str) -> dict[str, Any]:
        part: dict[str, Any] = {"type": "output_text", "text": said, "annotations": [], "logprobs": None}
        return {
            "id": self._item,
            "type": "message",
            "role": "assistant",
            "status": "incomplete" if choice.finish_reason == "length" else "completed",
            "content": [part],
        }

    def _of_part(self, kind: str, **fields: Any) -> bytes:
        return self._event(kind, item_id=self._item, output_index=0, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = _encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), event)
