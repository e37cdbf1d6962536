"""Tokens of a request before an engine counted them: estimates that learn from reported usage, per model."""

from collections import OrderedDict

import msgspec

from headgate.model.requests import BYTES_PER_TOKEN, InferenceRequest, Usage

SMALLEST_SAMPLE_BYTES = 256
"""Shorter prompts teach nothing: chat templates and special tokens outweigh the text."""

DENSEST, SPARSEST = 1.0, 12.0
"""Bytes per token that text in any language and vocabulary stays within."""

NOT_UNDERSTOOD_TOKENS = 256
"""What a body of which no prompt is known counts for at most: an upload of audio, an adapter, tokens to
count."""

FIRST_OUTPUT_TOKENS = 256.0
"""Expected answer length before any answer was seen."""

GAIN = 0.05
"""Weight of one sample in the moving averages."""

MODELS = 256
"""Models remembered; the least recently corrected one is forgotten first."""


class Averages(msgspec.Struct, frozen=True, gc=False):
    """What one model's requests were like."""

    bytes_per_token: float
    """Prompt bytes per token."""
    output: float
    """Tokens of an answer."""

    def prompt_tokens(self, request: InferenceRequest) -> int:
        """Estimated prompt tokens, at least 1; `NOT_UNDERSTOOD_TOKENS` at most where no prompt is known."""
        text = request.prompt_bytes / self.bytes_per_token
        media = request.media_tokens
        if not text and not media:
            text = min(NOT_UNDERSTOOD_TOKENS, request.body_bytes / self.bytes_per_token)
        return max(1, round(text) + media)

    def output_tokens(self, request: InferenceRequest) -> int:
        """Expected answer tokens: the average, no more than the request allows; none of a pooled prompt."""
        if request.api == "pooling":
            return 0
        most = request.max_tokens
        return round(self.output if most is None else min(self.output, most))


UNKNOWN = Averages(BYTES_PER_TOKEN, FIRST_OUTPUT_TOKENS)
"""For a model never seen."""


class TokenEstimator:
    """Moving averages of bytes per prompt token and of answer tokens, one pair per model."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Averages] = OrderedDict()
        self.bytes_per_token = BYTES_PER_TOKEN
        """Of all models together, by their requests."""

    def of(self, model: str | None) -> Averages:
        """The averages of *model*."""
        return self._known.get(model or "", UNKNOWN)

    def learn(self, model: str | None, prompt_bytes: int, usage: Usage) -> None:
        """Correct the averages by an answered request; samples outside sane bounds are left out."""
        key = model or ""
        before = self._known.get(key, UNKNOWN)
        ratio, output = before.bytes_per_token, before.output
        if prompt_bytes >= SMALLEST_SAMPLE_BYTES and usage.prompt_tokens > 0:
            sample = prompt_bytes / usage.prompt_tokens
            if DENSEST <= sample <= SPARSEST:
                ratio += GAIN * (sample - ratio)
                self.bytes_per_token += GAIN * (sample - self.bytes_per_token)
        if usage.completion_tokens > 0:
            output += GAIN * (usage.completion_tokens - output)
        self._known[key] = Averages(ratio, output)
        self._known.move_to_end(key)
        if len(self._known) > MODELS:
            self._known.popitem(last=False)
