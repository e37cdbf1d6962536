"""A pool's FlowPolicy in the words of flow control."""

from msgspec.structs import replace

from headgate.flow.fairness.round_robin import RoundRobin
from headgate.flow.fairness.weighted_tokens import WeightedTokens
from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.ordering.fcfs import Fcfs
from headgate.flow.settings import BandSettings, FlowSettings, Quota, Share
from headgate.model.durations import seconds
from headgate.model.flow_rules import FlowRules
from headgate.model.objects.flow import BandSpec, ShareSpec


def with_rules(settings: FlowSettings, rules: FlowRules | None) -> FlowSettings:
    """The settings of a pool with these rules; None: as they are."""
    if rules is None:
        return settings
    longest_s = settings.other_bands.ttl_s
    return replace(
        settings,
        shares={who: _share(each) for who, each in rules.shares.items()},
        other_shares=_share(rules.other_shares),
        bands={priority: _band(each, longest_s) for priority, each in rules.bands.items()},
        other_bands=_band(rules.other_bands, longest_s),
    )


def _share(said: ShareSpec) -> Share:
    quota = said.quota
    return Share(
        weight=said.weight,
        quota=None
        if quota is None
        else Quota(tokens_per_minute=quota.tokens_per_minute, burst_tokens=quota.burst_tokens),
        most_requests=said.max_queued,
        most_bytes=said.max_queued_bytes,
    )


def _band(said: BandSpec, longest_s: float) -> BandSettings:
    return BandSettings(
        fairness=RoundRobin() if said.fairness == "RoundRobin" else WeightedTokens(),
        ordering=EarliestDeadline() if said.ordering == "EarliestDeadline" else Fcfs(),
        ttl_s=longest_s if said.ttl is None else min(longest_s, seconds(said.ttl) or longest_s),
        most_requests=said.max_queued,
        most_bytes=said.max_queued_bytes,
        ceiling=said.ceiling,
        evict=said.evict,
    )
