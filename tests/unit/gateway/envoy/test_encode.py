"""Route configurations put together from serialized routes are the same message."""

from typing import Any

import pytest
from google.protobuf import json_format

from headgate.gateway.envoy import encode
from headgate.gateway.envoy.protos import MESSAGES, to_message


def test_the_pieces_make_the_message_that_the_whole_would() -> None:
    routes = [{"match": {"prefix": f"/{name}"}, "route": {"cluster": name}} for name in ("a", "b", "c" * 300)]
    outer = {"name": "port-8080", "request_headers_to_remove": ["x-secret"]}
    host, empty = {"name": "all", "domains": ["*"]}, {"name": "empty", "domains": ["none.example"]}
    body = encode.configuration(
        outer, [encode.host(host, [encode.route(each) for each in routes]), encode.host(empty, [])]
    )
    whole = to_message("route", {**outer, "virtual_hosts": [{**host, "routes": routes}, empty]})
    assert MESSAGES["route"].FromString(body) == whole


def test_what_is_no_route_is_an_error() -> None:
    with pytest.raises(json_format.ParseError):
        encode.route({"rout": {}})


@pytest.mark.parametrize("ip", ["10.0.0.1", "2001:db8::1", *("z" * size for size in range(90, 130))])
@pytest.mark.parametrize("port", [1, 127, 128, 65535])
def test_an_endpoint_that_is_an_address_is_written_as_any_other(ip: str, port: int) -> None:
    address = {"socket_address": {"address": ip, "port_value": port}}
    assert encode.endpoint_at(ip, port) == encode.endpoint({"endpoint": {"address": address}})


def test_endpoints_make_the_assignment_that_the_whole_would() -> None:
    hosts: list[dict[str, Any]] = [
        {"endpoint": {"address": {"socket_address": {"address": "10.0.0.1", "port_value": port}}}}
        for port in (1, 2)
    ]
    hosts[1]["metadata"] = {"filter_metadata": {"tls": {"name": "x" * 200}}}
    body = encode.assignment("pool", [encode.endpoint(each) for each in hosts], [encode.endpoint(hosts[1])])
    drained = {**hosts[1], "health_status": "DRAINING"}
    whole = {"cluster_name": "pool", "endpoints": [{"lb_endpoints": [*hosts, drained]}]}
    assert MESSAGES["endpoint"].FromString(body) == to_message("endpoint", whole)
    empty = encode.assignment("pool", (), ())
    assert MESSAGES["endpoint"].FromString(empty) == to_message("endpoint", {"cluster_name": "pool"})
