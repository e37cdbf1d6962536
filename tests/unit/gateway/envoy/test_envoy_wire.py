"""Messages are written by their descriptors; what is not usual is left to protobuf's own reader."""

from typing import Any

import pytest
from google.protobuf import json_format

from headgate.gateway.envoy import protos, wire

ROUTE: Any = protos.MESSAGES["route"].DESCRIPTOR


def write(content: Any) -> bytes:
    return protos.WRITERS.write(ROUTE.full_name, content)


def test_fields_are_written_in_the_order_of_their_numbers() -> None:
    hosts = [{"name": "a", "domains": ["*"]}]
    body = write({"virtual_hosts": hosts, "name": "routes", "validate_clusters": False})
    assert body == b"\n\x06routes" + b"\x12\x06\n\x01a\x12\x01*" + b":\x00"
    assert body == write({"validateClusters": False, "name": "routes", "virtualHosts": hosts})


@pytest.mark.parametrize(
    "content",
    [
        {"nam": "x"},
        {"name": 1},
        {"name": "\ud800"},
        {"virtual_hosts": {}},
        {"virtual_hosts": [None]},
        {"max_direct_response_body_size_bytes": -1},
        {"max_direct_response_body_size_bytes": True},
        {"typed_per_filter_config": {"x": {"name": "no type"}}},
        {"typed_per_filter_config": {"x": {"@type": "x/none.such.Type"}}},
    ],
)
def test_what_is_wrong_is_told_by_protobuf(content: Any) -> None:
    with pytest.raises(wire.UnusualError):
        write(content)
    with pytest.raises(json_format.ParseError):
        protos.serialized("route", content)


def test_forms_that_are_rare_are_written_by_protobuf() -> None:
    content = {"max_direct_response_body_size_bytes": "70000"}
    with pytest.raises(wire.UnusualError):
        write(content)
    assert protos.serialized("route", content) == write({"max_direct_response_body_size_bytes": 70000})


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**32, 2**64 - 1])
def test_numbers_of_any_length(value: int) -> None:
    found, read = wire.varint(value), 0
    for place, byte in enumerate(found):
        read |= (byte & 0x7F) << (7 * place)
    assert read == value
    assert all(byte & 0x80 for byte in found[:-1]) and not found[-1] & 0x80


def test_a_constant_is_written_as_any_other_and_once() -> None:
    anything = {"@type": "type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer"}
    plain = {"name": "r", "typed_per_filter_config": {"b": {**anything, "max_request_bytes": 1}}}
    constant = wire.Constant({**anything, "max_request_bytes": 1})
    for _ in range(2):
        assert write({"name": "r", "typed_per_filter_config": {"b": constant}}) == write(plain)
    host: dict[str, Any] = {"name": "a", "domains": ["*"]}
    whole = wire.Constant(host)
    assert write({"virtual_hosts": [whole, whole]}) == write({"virtual_hosts": [host, host]})
    name = wire.Constant({"name": "a"})  # a message of another type the second time
    for content in ({"virtual_hosts": [name]}, name):
        assert write(content) == write({key: [{"name": "a"}] if key != "name" else "a" for key in content})


def test_a_constant_that_is_wrong_is_told_by_protobuf() -> None:
    content = {"virtual_hosts": [wire.Constant({"nam": "x"})]}
    with pytest.raises(wire.UnusualError):
        write(content)
    with pytest.raises(json_format.ParseError):
        protos.serialized("route", content)
