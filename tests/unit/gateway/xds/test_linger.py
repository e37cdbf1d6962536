"""Endpoints that leave are kept a moment, as draining."""

from typing import Any

from headgate.gateway.xds.linger import Linger


def assignment(*ports: int) -> dict[str, Any]:
    hosts = [
        {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}}}
        for port in ports
    ]
    return {"cluster_name": "pool", "endpoints": [{"lb_endpoints": hosts}] if hosts else []}


def shown(assignments: dict[str, Any]) -> list[tuple[int, str]]:
    return [
        (host["endpoint"]["address"]["socket_address"]["port_value"], host.get("health_status", ""))
        for locality in assignments["pool"]["endpoints"]
        for host in locality["lb_endpoints"]
    ]


def test_a_replacement_overlaps() -> None:
    linger = Linger(2.0)
    assert linger.apply({"pool": assignment(1)}, 0.0) == ({"pool": assignment(1)}, None)
    kept, again = linger.apply({"pool": assignment(2)}, 10.0)
    assert (shown(kept), again) == ([(2, ""), (1, "DRAINING")], 12.0)
    kept, again = linger.apply({"pool": assignment(2)}, 11.0)
    assert (shown(kept), again) == ([(2, ""), (1, "DRAINING")], 12.0)
    assert linger.apply({"pool": assignment(2)}, 12.0) == ({"pool": assignment(2)}, None)


def test_an_emptied_pool_drains_and_an_endpoint_that_returns_is_whole_again() -> None:
    linger = Linger(2.0)
    linger.apply({"pool": assignment(1)}, 0.0)
    kept, _ = linger.apply({"pool": assignment()}, 1.0)
    assert shown(kept) == [(1, "DRAINING")]
    assert linger.apply({"pool": assignment(1)}, 1.5) == ({"pool": assignment(1)}, None)


def test_a_removed_cluster_takes_its_endpoints_along() -> None:
    linger = Linger(2.0)
    linger.apply({"pool": assignment(1)}, 0.0)
    assert linger.apply({}, 1.0) == ({}, None)
