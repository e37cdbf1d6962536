"""Which of several rules gets a request that fits them all."""

from headgate.gateway import ir

Precedence = tuple[int, int, int, int, int, tuple[str, str, str], int, int]
"""Sorts first what wins: Gateway API's order of matches, then age and name of the route, then position."""

KINDS = ("exact", "regex", "prefix")
"""The Gateway API leaves open where expressions stand: before prefixes, since whoever writes one means fewer
paths than `/` does."""


def precedence(match: ir.Match, age: tuple[str, str, str], rule: int, number: int) -> Precedence:
    """Of match *number* of rule *rule* of a route of that age."""
    return (
        KINDS.index(match.kind),
        -len(match.path),
        0 if match.method else 1,
        -len(match.headers),
        -len(match.query),
        age,
        rule,
        number,
    )
