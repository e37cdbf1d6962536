"""Route configurations put together from converted routes are the same message."""

from typing import Any

import pytest
from google.protobuf import json_format

from headgate.gateway.envoy.protos import to_message
from headgate.gateway.xds.versions import Json, resource
from headgate.io.xds.encode import Encoder


def routes(*clusters: str) -> Json:
    return {
        "name": "port-8080",
        "requestHeadersToRemove": ["x-secret"],
        "virtualHosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [
                    {"match": {"prefix": f"/{name}"}, "route": {"cluster": name}} for name in clusters
                ],
            },
            {"name": "empty", "domains": ["none.example"]},
        ],
    }


def test_the_pieces_make_the_message_that_the_whole_would() -> None:
    content = routes("a", "b", "c" * 300)
    encoded = Encoder().encode(resource("route", "port-8080", content))
    whole = to_message("route", content)
    assert encoded.type_url.endswith("RouteConfiguration")
    assert type(whole).FromString(encoded.value) == whole


def test_a_changed_route_converts_that_route_only(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder()
    encoder.encode(resource("route", "r", routes(*(f"c{n}" for n in range(50)))))
    encoder.keep_only(set())
    parsed: list[object] = []
    parse = json_format.ParseDict

    def counting(content: Any, *args: Any, **kwargs: Any) -> Any:
        parsed.append(content)
        return parse(content, *args, **kwargs)

    monkeypatch.setattr(json_format, "ParseDict", counting)
    encoder.encode(resource("route", "r", routes(*(f"c{n}" for n in range(49)), "new")))
    assert [each for each in parsed if isinstance(each, dict) and "match" in each] == [
        {"match": {"prefix": "/new"}, "route": {"cluster": "new"}}
    ]


def test_what_is_no_envoy_resource_is_an_error() -> None:
    with pytest.raises(json_format.ParseError):
        Encoder().encode(resource("cluster", "a", {"name": "a", "noSuchField": 1}))
    with pytest.raises(json_format.ParseError):
        Encoder().encode(resource("route", "r", {"virtualHosts": [{"routes": [{"rout": {}}]}]}))
