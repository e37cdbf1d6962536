"""What an operator may tune about waiting. Times are in seconds."""

from collections.abc import Mapping

import msgspec

from headgate.flow.api import Fairness, Ordering
from headgate.flow.fairness.weighted_tokens import WeightedTokens
from headgate.flow.ordering.fcfs import Fcfs
from headgate.flow.queue import NEVER


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Tokens, prompt and answer, that may be used: a bucket that fills steadily."""

    tokens_per_minute: float
    """Above 0."""
    burst_tokens: float | None = None
    """What may be used at once after a pause, above 0; None: what a minute brings."""

    def __post_init__(self) -> None:
        """Raises ValueError for numbers that say nothing."""
        if not 0 < self.tokens_per_minute < NEVER:
            raise ValueError("tokens_per_minute must be a number above 0")
        if self.burst_tokens is not None and not 0 < self.burst_tokens < NEVER:
            raise ValueError("burst_tokens must be a number above 0")


class Share(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a fairness id may have."""

    weight: float = 1.0
    """Its part of the tokens, against those of others, while all want more than there is; above 0."""
    quota: Quota | None = None
    most_requests: int = 1000
    """Of its requests that wait."""
    most_bytes: int = 500_000_000
    """Of their bodies."""

    def __post_init__(self) -> None:
        """Raises ValueError for a weight that says nothing."""
        if not 0 < self.weight < NEVER:
            raise ValueError("weight must be a number above 0")


class BandSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Requests of one priority."""

    fairness: Fairness = WeightedTokens()
    ordering: Ordering = Fcfs()
    ttl_s: float = 60.0
    """So long a request waits at most."""
    most_requests: int = 5000
    most_bytes: int = 1_000_000_000
    ceiling: float | None = None
    """With its requests no more than this part of a full load is anywhere, above 0 and up to 1. None: for
    priorities below 0 it is 1, which leaves no request of theirs waiting in an engine; others have none."""
    evict: bool = False
    """Running requests of it, when it is below 0, may be ended for more important ones."""

    def __post_init__(self) -> None:
        """Raises ValueError for a ceiling that says nothing."""
        if self.ceiling is not None and not 0 < self.ceiling <= 1:
            raise ValueError("ceiling must be above 0 and at most 1")


class FlowSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it; the defaults are what `headgate run` uses."""

    bands: Mapping[int, BandSettings] = msgspec.field(default_factory=dict)
    """By priority."""
    other_bands: BandSettings = BandSettings()
    """Of every priority that is not in `bands`."""
    shares: Mapping[str, Share] = msgspec.field(default_factory=dict)
    """By fairness id."""
    other_shares: Share = Share()
    """Of every fairness id, by itself, that is not in `shares`."""
    most_requests: int = 10_000
    """That wait, of all bands together."""
    most_bytes: int = 2_000_000_000
    most_accounts: int = 10_000
    """Fairness ids without a request that are remembered, those of `shares` before others."""
    ageing_s: float = 15.0
    """A band that has waited so long since one of its requests went is given a turn before higher ones."""
    ageing_every: int = 10
    """At most one of so many requests goes by such a turn."""
    most_retry_s: int = 300
    """No `Retry-After` is longer than this, but that of a quota."""
