"""Tokens of a request before an engine counted them: estimates that learn from reported usage, per model."""

from collections import OrderedDict

from headgate.model.requests import BYTES_PER_TOKEN, InferenceRequest, Usage

SMALLEST_SAMPLE_BYTES = 256
"""Shorter prompts teach nothing: chat templates and special tokens outweigh the text."""

DENSEST, SPARSEST = 1.0, 12.0
"""Bytes per token that text in any language and vocabulary stays within."""

FIRST_OUTPUT_TOKENS = 256.0
"""Expected answer length before any answer was seen."""

GAIN = 0.05
"""Weight of one sample in the moving averages."""

MODELS = 256
"""Models remembered; the least recently corrected one is forgotten first."""


class TokenEstimator:
    """Moving averages of bytes per prompt token and of answer tokens, one pair per model."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def bytes_per_token(self, model: str | None) -> float:
        """Prompt bytes per token of *model*; the general estimate for a model never seen."""
        return self._of(model)[0]

    def prompt_tokens(self, request: InferenceRequest, model: str | None) -> int:
        """Estimated prompt tokens, at least 1. A body that was not understood counts whole."""
        size = request.prompt_bytes or request.body_bytes
        return max(1, round(size / self._of(model)[0]))

    def output_tokens(self, request: InferenceRequest, model: str | None) -> int:
        """Expected answer tokens: the model's average, no more than the request allows."""
        expected = self._of(model)[1]
        return round(expected if request.max_tokens is None else min(expected, request.max_tokens))

    def learn(self, model: str | None, prompt_bytes: int, usage: Usage) -> None:
        """Correct the averages by an answered request; samples outside sane bounds are left out."""
        ratio, output = self._of(model)
        if prompt_bytes >= SMALLEST_SAMPLE_BYTES and usage.prompt_tokens > 0:
            sample = prompt_bytes / usage.prompt_tokens
            if DENSEST <= sample <= SPARSEST:
                ratio += GAIN * (sample - ratio)
        if usage.completion_tokens > 0:
            output += GAIN * (usage.completion_tokens - output)
        key = model or ""
        self._known[key] = (ratio, output)
        self._known.move_to_end(key)
        if len(self._known) > MODELS:
            self._known.popitem(last=False)

    def _of(self, model: str | None) -> tuple[float, float]:
        return self._known.get(model or "", (BYTES_PER_TOKEN, FIRST_OUTPUT_TOKENS))
