"""Route configurations put together from serialized routes are the same message."""

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
