"""URLs of model servers."""

import pytest

from headgate.model.server_urls import ServerUrl, is_ip, parse_url


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", ServerUrl("http", "h", 80)),
        ("https://h/", ServerUrl("https", "h", 443)),
        ("http://[fd00::1]:81", ServerUrl("http", "fd00::1", 81)),
    ],
)
def test_urls(url: str, expected: ServerUrl) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    "url", ["h:80", "ftp://h", "http://", "http://h:99999", "http://h/v1", "http://u@h", "http://h:0"]
)
def test_urls_that_are_none(url: str) -> None:
    assert isinstance(parse_url(url), str)


def test_is_ip() -> None:
    assert [is_ip(text) for text in ("1.2.3.4", "::1", "host", "1.2.3", "")] == [
        True,
        True,
        False,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "url",
    [
        "http://u:s3cr3t@h",
        "http://u:s3/cr3t@h:80",
        "http://u:s3cr3t@h:99999",
        "u:s3cr3t@h:80",
        "ftp://s3cr3t@h",
        "http://h?key=s3cr3t",
        "http://h/v2#s3cr3t",
        "http://[s3cr3t@h",
    ],
)
def test_what_may_be_a_secret_is_not_shown(url: str) -> None:
    told = parse_url(url)
    assert isinstance(told, str)
    assert "s3" not in told
