"""Endpoints that leave are kept a moment."""

from headgate.gateway.xds.linger import Linger

POOL, OTHER = ("all", "pool"), ("all", "other")


def hosts(*ports: int) -> dict[str, bytes]:
    return {f"10.0.0.1:{port}": str(port).encode() for port in ports}


def test_a_replacement_overlaps() -> None:
    linger = Linger(2.0)
    assert linger.changed(POOL, hosts(1), 0.0) == {}
    assert linger.changed(POOL, hosts(2), 10.0) == hosts(1)
    assert linger.due == 12.0
    assert linger.changed(POOL, hosts(2, 3), 11.0) == hosts(1)
    assert linger.expired(11.5) == {}
    assert linger.expired(12.0) == {POOL: (hosts(2, 3), {})}
    assert linger.expired(13.0) == {}


def test_an_emptied_pool_drains_and_an_endpoint_that_returns_is_whole_again() -> None:
    linger = Linger(2.0)
    linger.changed(POOL, hosts(1), 0.0)
    assert linger.changed(POOL, {}, 1.0) == hosts(1)
    assert linger.changed(POOL, hosts(1), 1.5) == {}
    assert linger.expired(9.0) == {}
    assert linger.due is None


def test_clusters_do_not_know_each_other() -> None:
    linger = Linger(2.0)
    for name in (POOL, OTHER):
        linger.changed(name, hosts(1), 0.0)
    linger.changed(POOL, {}, 1.0)
    linger.changed(OTHER, {}, 2.0)
    assert linger.expired(3.0) == {POOL: ({}, {})}
    assert linger.due == 4.0


def test_what_left_at_about_the_same_time_goes_at_once_and_never_early() -> None:
    linger = Linger(2.0)
    for name in (POOL, OTHER):
        linger.changed(name, hosts(1, 2), 0.0)
    linger.changed(POOL, hosts(2), 1.01)
    linger.changed(OTHER, hosts(1), 1.2)
    assert linger.due == 3.25
    assert linger.expired(3.25) == {POOL: (hosts(2), {}), OTHER: (hosts(1), {})}
    assert linger.due is None


def test_one_of_several_that_leave_may_go_first() -> None:
    linger = Linger(2.0)
    linger.changed(POOL, hosts(1, 2), 0.0)
    linger.changed(POOL, hosts(2), 1.0)
    assert linger.changed(POOL, {}, 2.0) == hosts(1, 2)
    assert linger.expired(3.0) == {POOL: ({}, hosts(2))}
    assert linger.expired(4.0) == {POOL: ({}, {})}


def test_a_removed_cluster_takes_its_endpoints_along() -> None:
    linger = Linger(2.0)
    linger.changed(POOL, hosts(1), 0.0)
    linger.changed(POOL, {}, 1.0)
    linger.gone(POOL)
    assert (linger.expired(9.0), linger.due) == ({}, None)
    assert linger.changed(POOL, hosts(2), 9.0) == {}
