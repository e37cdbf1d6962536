"""What answers of the APIs hold: where their model's name stands, and how they count tokens.

A format says it by an `Answers` value, which both wires execute: `usage` here, `native/src/answers.rs` there.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Path = tuple[str, ...]
"""Names of a count within its object: one, or that of an object and one in it."""
Counts = Mapping[str, Any]
"""One way to count. `prompt`, `completion`, `cached`: the paths of these; empty: it does not say.
`beside`: names of prompt tokens that `prompt` leaves out."""


def _counts(prompt: str, completion: str = "", cached: str = "", beside: tuple[str, ...] = ()) -> Counts:
    """From dotted paths."""
    paths = {"prompt": prompt, "completion": completion, "cached": cached}
    return {
        **{name: tuple(path.split(".")) if path else () for name, path in paths.items()},
        "beside": beside,
    }


OPENAI = _counts("prompt_tokens", "completion_tokens", "prompt_tokens_details.cached_tokens")
"""Chat completions, completions and embeddings."""
RESPONSES = _counts("input_tokens", "output_tokens", "input_tokens_details.cached_tokens")
ANTHROPIC = _counts(
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    ("cache_read_input_tokens", "cache_creation_input_tokens"),
)
"""Anthropic Messages: `input_tokens` are those that were neither read from a cache nor written to one."""
TOTAL = _counts("total_tokens")
"""Ranks and scores, which have no answer to count."""
SGLANG = _counts("prompt_tokens", "completion_tokens", "cached_tokens")
"""SGLang's own path."""

ERROR = "error"
"""What an event of any API says instead of a token."""
PROGRESS = ("prompt_progress",)
"""llama.cpp's key for how much of the prompt is computed."""
BEFORE_RESPONSES = ("response.created", "response.queued", "response.in_progress", "response.failed")
"""Responses: what a server sends before it computes anything, and instead of an answer."""
BEFORE_MESSAGES = ("message_start", "ping")


class Answers:
    """What an API's answers hold.

    * `within`: keys of an event under which an object has the model's name; beside it, the top level has it
    * `usage`: names of the objects that count tokens, wherever they stand. In a stream the last one that says
      a count is believed
    * `counts`: ways to count, the first one that an object says something by
    * `stored`: they have an id under which the server keeps them, at the top level or `within`
    * `tokenless`: names that say that an event of a stream carries no token: as its own name, as the `type`
      in its data, or as a key at the top of its data with a string, a list or an object. All other events
      with data carry one (see `first_token.TokenReader`)
    """

    __slots__ = ("counts", "stored", "tokenless", "usage", "within")

    def __init__(
        self,
        *counts: Counts,
        usage: Sequence[str] = ("usage",),
        within: Sequence[str] = (),
        stored: bool = False,
        tokenless: Sequence[str] = (),
    ) -> None:
        self.counts = counts
        self.usage = tuple(usage)
        self.within = tuple(within)
        self.stored = stored
        self.tokenless = (ERROR, *tokenless)

    def declared(self) -> Mapping[str, Any]:
        """The same as built-in values, for the native wire."""
        return {
            "counts": list(self.counts),
            "usage": list(self.usage),
            "within": list(self.within),
            "stored": self.stored,
            "tokenless": list(self.tokenless),
        }


ANY = Answers(
    OPENAI,
    ANTHROPIC,
    RESPONSES,
    within=("response", "message"),
    tokenless=(*PROGRESS, *BEFORE_RESPONSES, *BEFORE_MESSAGES),
)
"""Of an API that is not known by its path."""
