"""URLs of model servers."""

import ipaddress
import re
from typing import Literal
from urllib.parse import urlsplit

import msgspec


class ServerUrl(msgspec.Struct, frozen=True):
    """A model server's URL, taken apart."""

    scheme: Literal["http", "https"]
    host: str
    """Host name or IP address, without brackets."""
    port: int


def shown(url: str) -> str:
    """*url* without what may be a password or a key: user, query and fragment."""
    found = re.match(r"(?P<scheme>[\w.+-]+://)?(?P<user>.*@)?(?P<place>[^?#]*)(?P<more>.*)", url, re.DOTALL)
    assert found is not None, "the pattern matches every text"
    more = f"{found['more'][:1]}***" if found["more"] else ""
    return f"{found['scheme'] or ''}{'***@' if found['user'] else ''}{found['place']}{more}"


def parse_url(url: str) -> ServerUrl | str:
    """Take a model server's URL apart; a sentence that says what is wrong when it is none, and no secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return f"{shown(url)!r} is no URL: look at its host and its port"
    if parts.scheme not in ("http", "https") and re.fullmatch(r"[\w.-]+(:\d+)?", url):
        return f"{shown(url)!r} must begin with http:// or https://: write http://{shown(url)}"
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return f"{shown(url)!r} must be http://host:port or https://host:port"
    if parts.username is not None or parts.query or parts.fragment or parts.path.strip("/"):
        bare = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        return f"{shown(url)!r} must have no path, user or query, which come with the requests: write {bare}"
    if port == 0:
        return f"{shown(url)!r} must not have port 0"
    if parts.scheme == "https":
        return ServerUrl("https", parts.hostname, port or 443)
    return ServerUrl("http", parts.hostname, port or 80)


def is_ip(host: str) -> bool:
    """Whether *host* is an IP address, without brackets."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
