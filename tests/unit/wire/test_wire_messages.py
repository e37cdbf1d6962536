"""What messages say beside their bodies."""

from typing import Any

import pytest
from envoy.service.ext_proc.v3 import external_processor_pb2 as pb

from headgate.wire.messages import (
    LONGEST_ENDPOINT,
    MOST_SUBSET,
    client,
    is_local,
    listed,
    pool_names,
    read_headers,
    served_endpoint,
    subset,
)


def test_values_come_from_either_field() -> None:
    message = pb.HttpHeaders()
    message.headers.headers.add(key="A", value="plain")
    message.headers.headers.add(key="b", raw_value=b"raw\xff")
    assert read_headers(message) == {"a": "plain", "b": "raw\ufffd"}


def test_lines_of_cookies_are_one_list() -> None:
    message = pb.HttpHeaders()
    for key, value in (("cookie", "a=1"), ("x", "1"), ("Cookie", "b=2"), ("X", "2")):
        message.headers.headers.add(key=key, value=value)
    assert read_headers(message) == {"cookie": "a=1; b=2", "x": "2"}


def told(namespace: str, key: str, value: Any) -> Any:
    message = pb.ProcessingRequest()
    message.metadata_context.filter_metadata[namespace][key] = value
    return message


@pytest.mark.parametrize(
    ("hint", "endpoints"),
    [
        ("a:1, b:2\t,,c", ("a:1", "b:2", "c")),
        (["a:1", " ", "b:2 "], ("a:1", "b:2")),
        ("a" * LONGEST_ENDPOINT + "," + "b" * (LONGEST_ENDPOINT + 1), ("a" * LONGEST_ENDPOINT,)),
        (["a"] * (MOST_SUBSET + 5), ("a",) * MOST_SUBSET),
        ("a," * (MOST_SUBSET + 5), ("a",) * MOST_SUBSET),
        (5.0, ()),
    ],
)
def test_a_hint_of_endpoints(hint: Any, endpoints: tuple[str, ...]) -> None:
    assert subset(told("envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset", hint)) == endpoints
    if isinstance(hint, str):
        assert listed(hint) == endpoints


def test_what_the_data_plane_does_not_say() -> None:
    for message in (pb.ProcessingRequest(), told("x", "y", "z")):
        assert (subset(message), client(message), served_endpoint(message)) == (None, None, None)
        assert pool_names(message) == ()
        assert not is_local(message)
    assert subset(told("envoy.lb.subset_hint", "x", "y")) is None


def test_who_the_client_is() -> None:
    assert client(told("headgate", "client", "team-a")) == "team-a"
    assert client(told("headgate", "client", "")) is None
    assert client(told("headgate", "client", 5.0)) is None
