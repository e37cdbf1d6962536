"""JSON-shaped resources become Envoy's messages, also those types that the Python package lacks."""

from copy import deepcopy
from typing import Any

import pytest
from google.protobuf import json_format

from headgate.gateway.envoy import listeners, protos
from headgate.gateway.settings import GatewaySettings


def test_a_listener_survives_the_way_to_bytes_and_back() -> None:
    resource = listeners.listener("port-8080", 8080, [listeners.Chain("port-8080")], GatewaySettings())
    data = protos.serialized("listener", resource)
    assert protos.type_url("listener") == "type.googleapis.com/envoy.config.listener.v3.Listener"
    pool: Any = protos.MESSAGES["listener"].DESCRIPTOR.file.pool
    expected = json_format.ParseDict(deepcopy(resource), protos.MESSAGES["listener"](), descriptor_pool=pool)
    found = protos.to_message("listener", resource)
    assert json_format.MessageToDict(found, descriptor_pool=pool) == json_format.MessageToDict(
        expected, descriptor_pool=pool
    )
    assert b"sse_to_metadata.v3.SseToMetadata" in data and b"JsonContentParser" in data


def test_equal_resources_give_equal_bytes() -> None:
    resource = {"name": "x", "connect_timeout": "1s"}
    assert protos.serialized("cluster", resource) == protos.serialized(
        "cluster", dict(reversed(resource.items()))
    )


def test_a_field_that_does_not_exist_is_refused() -> None:
    with pytest.raises(json_format.ParseError):
        protos.serialized("cluster", {"name": "x", "conect_timeout": "1s"})
