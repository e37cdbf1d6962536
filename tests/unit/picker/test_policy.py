"""A FlowPolicy in the words of flow control."""

from headgate.flow.fairness.round_robin import RoundRobin
from headgate.flow.ordering.earliest_deadline import EarliestDeadline
from headgate.flow.settings import BandSettings, FlowSettings, Quota, Share
from headgate.model.flow_rules import FlowRules
from headgate.model.objects.flow import BandSpec, QuotaSpec, ShareSpec
from headgate.picker.policy import with_rules

BASE = FlowSettings(other_bands=BandSettings(ttl_s=45.0))


def test_without_a_policy_settings_are_as_they_are() -> None:
    assert with_rules(BASE, None) is BASE


def test_a_policy_that_says_nothing_changes_nothing() -> None:
    assert with_rules(BASE, FlowRules("default/p")) == BASE


def test_shares_and_bands_are_those_of_the_policy() -> None:
    rules = FlowRules(
        "default/p",
        shares={"a": ShareSpec(weight=2.0, quota=QuotaSpec(60.0, 100.0), max_queued=3, max_queued_bytes=9)},
        bands={
            -1: BandSpec("5s", 7, 8, "RoundRobin", "EarliestDeadline"),
            1: BandSpec("5m"),
            2: BandSpec("0s"),
        },
    )
    made = with_rules(BASE, rules)
    quota = Quota(tokens_per_minute=60.0, burst_tokens=100.0)
    assert made.shares == {"a": Share(weight=2.0, quota=quota, most_requests=3, most_bytes=9)}
    low = BandSettings(
        fairness=RoundRobin(), ordering=EarliestDeadline(), ttl_s=5.0, most_requests=7, most_bytes=8
    )
    assert made.bands == {-1: low, 1: BandSettings(ttl_s=45.0), 2: BandSettings(ttl_s=45.0)}
