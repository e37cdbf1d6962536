"""A host's group is made of the characters in its name."""

from collections import Counter

from headgate.gateway.host_groups import GROUPS, group_of, is_exact


def test_capitals_mean_nothing() -> None:
    assert group_of("Team-7.Example.COM") == group_of("team-7.example.com")


def test_every_text_has_a_group() -> None:
    assert all(0 <= group_of(each) < GROUPS for each in ("", "*", "[::1]", "ü.example", "0123456789bdghmpuw"))


def test_hosts_that_are_numbered_spread() -> None:
    sizes = Counter(group_of(f"tenant-{number:05}.apps.example.com") for number in range(5000))
    assert max(sizes.values()) < 150


def test_wildcards_are_not_exact() -> None:
    assert [is_exact(each) for each in ("a.example", "*.example", "*")] == [True, False, False]
