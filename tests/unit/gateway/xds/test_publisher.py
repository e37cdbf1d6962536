"""The first change goes at once, the next ones together; endpoints always at once."""

from tests.xds_resources import made

from headgate.gateway.xds.publisher import Publisher
from headgate.gateway.xds.versions import Changes, Kind


def change(*names: str, kind: Kind = "route", revision: int = 0) -> Changes:
    return Changes(tuple(made(kind, name, {"revision": revision}) for name in names))


def shown(changes: Changes) -> list[str]:
    return [f"{each.kind} {each.name}" for each in changes.changed] + [
        f"-{kind} {name}" for kind, name in changes.removed
    ]


def test_the_first_goes_at_once_and_the_next_ones_together() -> None:
    publisher = Publisher(1.0)
    assert shown(publisher.offer(change("a"), 10.0)) == ["route a"]
    assert shown(publisher.offer(change("b"), 10.1)) == []
    assert shown(publisher.offer(change("c"), 10.2)) == []
    assert publisher.due == 11.0
    assert shown(publisher.take(11.0)) == ["route b", "route c"]
    assert shown(publisher.offer(change("d"), 12.5)) == ["route d"]


def test_of_a_name_the_last_word_counts() -> None:
    publisher = Publisher(1.0)
    publisher.offer(change("x"), 0.0)
    publisher.offer(change("a", "b", revision=1), 0.1)
    publisher.offer(Changes(change("a", revision=2).changed, (("route", "b"),)), 0.2)
    publisher.offer(change("b", revision=3), 0.3)
    publisher.offer(Changes(removed=(("route", "a"),)), 0.4)
    found = publisher.take(1.0)
    assert shown(found) == ["route b", "-route a"]
    assert found.changed == change("b", revision=3).changed


def test_endpoints_and_secrets_do_not_wait() -> None:
    publisher = Publisher(1.0)
    publisher.offer(change("x"), 0.0)
    publisher.offer(change("r"), 0.1)
    assert shown(publisher.offer(change("e", kind="endpoint"), 0.2)) == ["endpoint e"]
    assert shown(publisher.offer(Changes(removed=(("endpoint", "e"),)), 0.3)) == ["-endpoint e"]
    assert shown(publisher.take(1.0)) == ["route r"]


def test_nothing_is_no_publication() -> None:
    publisher = Publisher(1.0)
    assert not publisher.offer(Changes(), 5.0)
    assert shown(publisher.offer(change("a"), 5.1)) == ["route a"]


def test_groups_of_hosts_wait_less_than_whole_tables() -> None:
    publisher = Publisher(1.0, 0.1)
    publisher.offer(change("a", kind="scope"), 10.0)
    publisher.offer(change("a", kind="scope", revision=1), 10.05)
    assert publisher.due == 10.1
    publisher.offer(change("r"), 10.06)
    assert publisher.due == 11.0
    assert shown(publisher.take(11.0)) == ["scope a", "route r"]
