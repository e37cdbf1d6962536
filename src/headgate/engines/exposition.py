"""Takes a few series out of a Prometheus text page without parsing the rest of it.

A page is 20–50 KB and comes several times a second from every endpoint, while a dozen lines of it matter.
One compiled expression per engine finds these lines; labels are parsed of these only, and when asked for.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

_LABEL = re.compile(rb'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*,?', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"\\": b"\\", b'"': b'"'}


Line = tuple[bytes, bytes, bytes]
"""Name, raw labels and value of a line of a page."""

MOST_LINES = 1000
"""Wanted lines of one page: a dozen per rank of an engine. Those after are left out."""
LINE_BYTES = 16 * 1024
"""Labels and value of a wanted line; a longer one is left out. vLLM lists adapters in a label."""


class Sample:
    """A series: its raw labels and its value in the newest page."""

    __slots__ = ("_labels", "value")

    def __init__(self, labels: bytes) -> None:
        self._labels = labels
        self.value = math.nan

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


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


_TEXT = rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*"'
_REST_OF_LINE = rb"(?:[ \t]*\{((?:[^\"}\n]*+" + _TEXT + rb")*[^\"}\n]*+)\})?[ \t]+([^\s_]++)(?!_)"
"""After a name: labels, which may hold any sign within quotes, and the value. Nothing is tried twice.

Python allows `_` in numbers, the format does not.
"""


class Extractor:
    """Finds the samples of the wanted *names* (one or more) in a page; fast when they share a prefix."""

    def __init__(self, names: Iterable[str], alone: Iterable[str] = ()) -> None:
        """*alone*: names that share no prefix with others, and of which a page has one line at most."""
        self._alone = [
            (b"\n" + name.encode(), re.compile(rb"\n(" + re.escape(name.encode()) + rb")" + _REST_OF_LINE))
            for name in alone
        ]
        wanted = sorted({name.encode() for name in names})
        prefix = _common_prefix(wanted[0], wanted[-1])
        rests = b"|".join(re.escape(name[len(prefix) :]) for name in wanted)
        self._line = re.compile(rb"\n(" + re.escape(prefix) + rb"(?:" + rests + rb"))" + _REST_OF_LINE)

    def lines(self, page: bytes) -> list[Line]:
        """The wanted lines of a page, in its order; timestamps, and lines beyond the bounds, are ignored."""
        if not page.startswith(b"#"):
            page = b"\n" + page
        found: list[Line] = self._line.findall(page)
        for begin, line in self._alone:
            at = page.find(begin + b" ")
            if at >= 0 and (match := line.match(page, at)) is not None:
                found.append((match[1], match[2] or b"", match[3]))
        if len(found) > MOST_LINES:
            del found[MOST_LINES:]
        if len(page) > LINE_BYTES:
            return [line for line in found if len(line[1]) + len(line[2]) <= LINE_BYTES]
        return found

    def samples(self, page: bytes) -> Mapping[str, list[Sample]]:
        """Name → its samples, in the page's order; absent when there are none."""
        return Series().take(self.lines(page))


class Series:
    """The series of one server's pages. They stay from page to page while their values move."""

    def __init__(self) -> None:
        self._names: tuple[bytes, ...] = ()
        self._labels: tuple[bytes, ...] = ()
        self._samples: list[Sample] = []
        self._by_name: dict[str, list[Sample]] = {}

    def take(self, lines: Sequence[Line]) -> Mapping[str, list[Sample]]:
        """Name → its samples among a page's *lines*, in their order, until the next page is taken."""
        if not lines:
            return {}
        names, labels, numbers = zip(*lines, strict=True)
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            return self.take([line for line in lines if _is_number(line[2])])
        if names != self._names or labels != self._labels:
            self._names, self._labels = names, labels
            self._samples = [Sample(each) for each in labels]
            self._by_name = {}
            for name, sample in zip(names, self._samples, strict=True):
                self._by_name.setdefault(name.decode(), []).append(sample)
        for sample, value in zip(self._samples, values, strict=True):
            sample.value = value
        return self._by_name


def _common_prefix(first: bytes, last: bytes) -> bytes:
    """The common prefix of a sorted list's *first* and *last*, and so of all."""
    length = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]
