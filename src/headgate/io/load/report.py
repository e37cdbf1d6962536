"""What requests felt like, one by one and together. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Self

import msgspec

TTFT_BOUND_S = 2.0
TPOT_BOUND_S = 0.05
"""A request is good when its first token came within the one and later ones at the pace of the other."""


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One request. Times in wall seconds; None when it did not get so far."""

    at_s: float
    """Sent so long after the start of the load."""
    status: int | None = None
    """HTTP status; None: no answer."""
    error: str | None = None
    """None: answered to the end."""
    first_byte: bool = False
    """Whether a byte of the answer's body had come."""
    ttft_s: float | None = None
    """From sending to the first piece of text."""
    tpot_s: float | None = None
    """Mean time between the answer's later tokens."""
    duration_s: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    endpoint: str | None = None
    """Who answered, as the gateway says."""
    request_id: str | None = None

    @property
    def ok(self) -> bool:
        """Answered to the end."""
        return self.error is None


class Percentiles(msgspec.Struct, frozen=True):
    """Of a duration, in seconds; None without a value."""

    p50: float | None = None
    p90: float | None = None
    p99: float | None = None

    @classmethod
    def of(cls, values: Iterable[float | None]) -> Self:
        """Nearest-rank percentiles of the values that are not None."""
        ordered = sorted(value for value in values if value is not None)
        return cls(*(_rank(ordered, share) for share in (0.50, 0.90, 0.99))) if ordered else cls()


def _rank(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A whole load, or its part so far."""

    requests: int
    """Ended, well or badly."""
    ok: int
    failed_before_first_byte: int
    failed_after_first_byte: int
    not_sent: int
    """Arrivals left out because too many requests were open."""
    errors: Mapping[str, int]
    """Error → how often."""
    ttft: Percentiles
    tpot: Percentiles
    duration: Percentiles
    goodput: float
    """Share of all arrivals that were answered well and within both bounds, 0..1."""
    ttft_bound_s: float
    tpot_bound_s: float
    """Bounds of goodput, in wall seconds."""
    tokens_per_s: float
    """Answer tokens per wall second."""
    prompt_tokens: int
    cached_tokens: int
    """Prompt tokens that servers had in their prefix caches, by their own count."""
    endpoints: Mapping[str, int]
    """Endpoint → requests answered."""
    elapsed_s: float

    @property
    def hit_rate(self) -> float:
        """Share of prompt tokens that were cached, 0..1."""
        return self.cached_tokens / self.prompt_tokens if self.prompt_tokens else 0.0


def make_report(
    samples: Sequence[Sample], *, elapsed_s: float, speed: float = 1.0, not_sent: int = 0
) -> Report:
    """Sum up *samples* of a load that took *elapsed_s*; the fleet's *speed* tightens goodput's bounds."""
    ttft_bound_s, tpot_bound_s = TTFT_BOUND_S / speed, TPOT_BOUND_S / speed
    good = sum(
        sample.ok
        and sample.ttft_s is not None
        and sample.ttft_s <= ttft_bound_s
        and (sample.tpot_s is None or sample.tpot_s <= tpot_bound_s)
        for sample in samples
    )
    failed = [sample for sample in samples if not sample.ok]
    arrivals = len(samples) + not_sent
    return Report(
        requests=len(samples),
        ok=len(samples) - len(failed),
        failed_before_first_byte=sum(not sample.first_byte for sample in failed),
        failed_after_first_byte=sum(sample.first_byte for sample in failed),
        not_sent=not_sent,
        errors=dict(Counter(sample.error for sample in failed if sample.error is not None).most_common()),
        ttft=Percentiles.of(sample.ttft_s for sample in samples),
        tpot=Percentiles.of(sample.tpot_s for sample in samples),
        duration=Percentiles.of(sample.duration_s for sample in samples if sample.ok),
        goodput=good / arrivals if arrivals else 0.0,
        ttft_bound_s=ttft_bound_s,
        tpot_bound_s=tpot_bound_s,
        tokens_per_s=sum(sample.completion_tokens for sample in samples) / elapsed_s
        if elapsed_s > 0
        else 0.0,
        prompt_tokens=sum(sample.prompt_tokens for sample in samples),
        cached_tokens=sum(sample.cached_tokens for sample in samples),
        endpoints=dict(
            sorted(Counter(s.endpoint for s in samples if s.ok and s.endpoint is not None).items())
        ),
        elapsed_s=elapsed_s,
    )
