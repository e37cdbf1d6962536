"""What names the session of a request: headers, cookies, fields of bodies, as policies and wires say it.

A source is `header:NAME` (lower case), `cookie:NAME` or `body:FIELD`.
"""

from collections.abc import Iterable

import msgspec

from headgate.model.headers import SESSION

HEADER, COOKIE, BODY = "header:", "cookie:", "body:"

DEFAULT = tuple([HEADER + name for name in SESSION])
"""Where no policy says anything: what clients send to name a session, and nothing that they send anyway.

`prompt_cache_key` and `user` are not among it: the first is often one constant of a whole application, the
second a whole tenant. The weights of model names would then hold for few draws, and one server would be
preferred for all of it.
"""


class Sources(msgspec.Struct, frozen=True):
    """What is looked for in requests."""

    headers: frozenset[str] = frozenset()
    cookies: frozenset[str] = frozenset()
    body: frozenset[str] = frozenset()


def sources(named: Iterable[str]) -> Sources:
    """All of these together. Raises ValueError for what is no source."""
    found: dict[str, set[str]] = {HEADER: set(), COOKIE: set(), BODY: set()}
    for each in named:
        kind, colon, name = each.partition(":")
        if kind + colon not in found or not name:
            raise ValueError(f"{each!r} names no session")
        found[kind + colon].add(name)
    return Sources(frozenset(found[HEADER]), frozenset(found[COOKIE]), frozenset(found[BODY]))


USUAL = sources(DEFAULT)
