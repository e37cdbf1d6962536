"""Takes a few series out of a Prometheus text page without parsing the rest of it.

A page is 20–50 KB and comes several times a second from every endpoint, while a dozen lines of it matter.
One compiled expression per engine finds these lines; labels are parsed of these only, and when asked for.
"""

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache

_LABEL = re.compile(rb'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"\\": b"\\", b'"': b'"'}


class Sample:
    """One line of a page: the raw labels and the value."""

    __slots__ = ("_labels", "value")

    def __init__(self, labels: bytes, value: float) -> None:
        self._labels = labels
        self.value = value

    def labels(self) -> Mapping[str, str]:
        """The line's labels, unescaped."""
        return parse_labels(self._labels)


@lru_cache(maxsize=2048)  # a series keeps its labels from scrape to scrape
def parse_labels(text: bytes) -> Mapping[str, str]:
    r"""The labels of `a="1",b="x\"y"` (no braces); `\\`, `\"`, `\n` unescaped, a wrong rest ignored."""
    labels: dict[str, str] = {}
    position = 0
    while (match := _LABEL.match(text, position)) is not None:
        value = match[2]
        if b"\\" in value:
            value = _ESCAPE.sub(lambda escape: _ESCAPED.get(escape[1], escape[0]), value)
        labels[match[1].decode()] = value.decode(errors="replace")
        position = match.end()
    return labels


def parse_value(text: bytes) -> float | None:
    """The value of a sample; None when it is no number. `NaN` and `±Inf` are numbers here."""
    if b"_" in text:  # Python allows it in numbers, the format does not
        return None
    try:
        return float(text)
    except ValueError:
        return None


def finite(value: float) -> bool:
    """Whether a sample's value says anything."""
    return math.isfinite(value)


_REST_OF_LINE = rb'(?:[ \t]*\{((?:[^"}\n]|"(?:[^"\\\n]|\\.)*")*)\})?[ \t]+(\S+)'
"""After a name: labels, which may hold any sign within quotes, and the value."""


class Extractor:
    """Finds the samples of the wanted *names* (one or more) in a page; fast when they share a prefix."""

    def __init__(self, names: Iterable[str]) -> None:
        wanted = sorted({name.encode() for name in names})
        prefix = _common_prefix(wanted[0], wanted[-1])
        rests = b"|".join(re.escape(name[len(prefix) :]) for name in wanted)
        self._line = re.compile(rb"\n(" + re.escape(prefix) + rb"(?:" + rests + rb"))" + _REST_OF_LINE)

    def samples(self, page: bytes) -> Mapping[str, list[Sample]]:
        """Name → its samples, in the page's order; absent when there are none. Timestamps are ignored."""
        found: dict[str, list[Sample]] = {}
        for match in self._line.finditer(page if page.startswith(b"#") else b"\n" + page):
            value = parse_value(match[3])
            if value is not None:
                found.setdefault(match[1].decode(), []).append(Sample(match[2] or b"", value))
        return found


def _common_prefix(first: bytes, last: bytes) -> bytes:
    """The common prefix of a sorted list's *first* and *last*, and so of all."""
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]
