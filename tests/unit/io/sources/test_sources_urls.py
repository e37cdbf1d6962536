"""Bare URLs → objects."""

import pytest
from tests.resolved import resolve_pools

from headgate.io.sources.urls import BadUrlError, normalise, normalise_all, objects_of
from headgate.model.server_urls import shown
from headgate.model.snapshot import Snapshot


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://gpu1:8000", "http://gpu1:8000"),
        ("http://GPU1:8000/", "http://gpu1:8000"),
        ("http://gpu1:8000/v1", "http://gpu1:8000"),
        ("http://gpu1:8000/v1/", "http://gpu1:8000"),
        ("gpu1:8000", "http://gpu1:8000"),
        ("gpu1", "http://gpu1:80"),
        ("https://llm.example.com", "https://llm.example.com:443"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        (" http://10.0.0.1:8000 ", "http://10.0.0.1:8000"),
    ],
)
def test_normalised(url: str, expected: str) -> None:
    assert normalise(url) == expected


BAD = [
    "",
    "http://",
    "ftp://a:1",
    "http://a:1/chat",
    "http://u:p@a:1",
    "http://a:1?x=1",
    "http://a:x",
    "http://a:99999",
]


@pytest.mark.parametrize("url", [*BAD, "http://a:0"])
def test_a_bad_url_is_named(url: str) -> None:
    with pytest.raises(BadUrlError) as caught:
        normalise(url)
    assert repr(shown(url)) in str(caught.value)


def test_each_server_once_in_order() -> None:
    assert normalise_all(["b:1", "http://a:1/v1", "http://b:1", "a:1"]) == ("http://b:1", "http://a:1")


def test_the_objects_make_one_open_pool_of_all_servers() -> None:
    objects = objects_of(["http://127.0.0.1:9500", "https://127.0.0.1:9500", "http://[::1]:9501"])
    pools, problems = resolve_pools(Snapshot(objects))
    assert not problems
    (pool,) = pools
    assert (pool.key, pool.failure_mode, pool.picker) == ("default/default", "FailOpen", None)
    # Two URLs of one address and port are one endpoint, whatever their schemes.
    assert [each.id for each in pool.endpoints] == ["127.0.0.1:9500", "[::1]:9501"]
    assert [each.identity.kind for each in objects] == [
        "Gateway",
        "HTTPRoute",
        "InferencePool",
        *["ModelServer"] * 3,
    ]
