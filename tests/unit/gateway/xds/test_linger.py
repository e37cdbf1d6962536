"""Endpoints that leave are kept a moment, as draining."""

from collections.abc import Mapping
from typing import Any

from headgate.gateway.xds.linger import Linger


def assignment(*ports: int) -> dict[str, Any]:
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    return {"cluster_name": "pool", "endpoints": [{"lb_endpoints": hosts}] if hosts else []}


def shown(found: Mapping[str, Any]) -> list[tuple[int, str]]:
    return [
        (host["endpoint"]["address"]["socket_address"]["port_value"], host.get("health_status", ""))
        for locality in found["endpoints"]
        for host in locality["lb_endpoints"]
    ]


def test_a_replacement_overlaps() -> None:
    linger = Linger(2.0)
    assert linger.changed("pool", assignment(1), 0.0) == assignment(1)
    assert shown(linger.changed("pool", assignment(2), 10.0)) == [(2, ""), (1, "DRAINING")]
    assert linger.due == 12.0
    assert shown(linger.changed("pool", assignment(2, 3), 11.0)) == [(2, ""), (3, ""), (1, "DRAINING")]
    assert linger.expired(11.5) == {}
    assert linger.expired(12.0) == {"pool": assignment(2, 3)}
    assert linger.expired(13.0) == {}


def test_an_emptied_pool_drains_and_an_endpoint_that_returns_is_whole_again() -> None:
    linger = Linger(2.0)
    linger.changed("pool", assignment(1), 0.0)
    assert shown(linger.changed("pool", assignment(), 1.0)) == [(1, "DRAINING")]
    assert linger.changed("pool", assignment(1), 1.5) == assignment(1)
    assert linger.expired(9.0) == {}
    assert linger.due is None


def test_clusters_do_not_know_each_other() -> None:
    linger = Linger(2.0)
    for name in ("pool", "other"):
        linger.changed(name, assignment(1), 0.0)
    linger.changed("pool", assignment(), 1.0)
    linger.changed("other", assignment(), 2.0)
    assert linger.expired(3.0) == {"pool": assignment()}
    assert linger.due == 4.0


def test_a_removed_cluster_takes_its_endpoints_along() -> None:
    linger = Linger(2.0)
    linger.changed("pool", assignment(1), 0.0)
    linger.changed("pool", assignment(), 1.0)
    linger.gone("pool")
    assert (linger.expired(9.0), linger.due) == ({}, None)
    assert linger.changed("pool", assignment(2), 9.0) == assignment(2)
