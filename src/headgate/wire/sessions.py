"""What a request says of its session, by digests: names of sessions go no further than this.

The native wire does the same (`native/src/sessions.rs`).
"""

from collections.abc import Iterable, Iterator, Mapping

from headgate.model.sessions import BODY, COOKIE, HEADER, Sources
from headgate.wire.digest import digest

Told = tuple[tuple[str, str], ...]
"""Sources that have a value, in their order as texts, with its digest."""


def sessions_of(headers: Mapping[str, str], texts: Iterable[tuple[str, str]], wanted: Sources) -> Told:
    """What is there of *wanted*. *texts*: fields of the body that may name a session."""
    found = {HEADER + name: headers[name] for name in wanted.headers.intersection(headers) if headers[name]}
    if wanted.cookies and "cookie" in headers:
        for name, value in _cookies(headers["cookie"]):
            if name in wanted.cookies:
                found.setdefault(COOKIE + name, value)
    if wanted.body:
        found |= {BODY + name: value for name, value in texts if name in wanted.body}
    return tuple([(source, digest(found[source])) for source in sorted(found)]) if found else ()


def _cookies(header: str) -> Iterator[tuple[str, str]]:
    """Names and values that are not empty, in order."""
    for each in header.split(";"):
        name, _, value = each.partition("=")
        value = value.strip(" \t")
        if value:
            yield name.strip(" \t"), value
