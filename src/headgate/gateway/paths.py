"""Prefix replacement in Envoy's words; and which regular expressions Envoy takes."""

import re
import warnings
from collections.abc import Mapping
from typing import Any

from headgate.model.objects import PathMatch


def prefix_rewrite(path: PathMatch, replacement: str) -> Mapping[str, Any] | str:
    """Fields that replace the matched prefix; a sentence when *path* is no prefix match.

    A prefix is whole path elements: `/a` → `/` turns `/a/b` into `/b`, not into `//b`; `/` → `/v1` turns
    `/b` into `/v1/b`. Envoy's prefix_rewrite replaces characters, so those two are written as expressions.
    """
    if path.type != "PathPrefix":
        return "replacePrefixMatch needs a match of type PathPrefix"
    prefix, new = path.value.rstrip("/"), replacement.rstrip("/")
    if prefix and new:
        return {"prefix_rewrite": new}
    substitution = new.replace("\\", "\\\\") + r"/\1"
    return {
        "regex_rewrite": {"pattern": {"regex": f"^{re.escape(prefix)}/*(.*)$"}, "substitution": substitution}
    }


_NOT_RE2 = re.compile(r"\(\?(?!:|P<|[imsU]+\)|[imsU]+:)|\\[1-9]|\\[ZuUN]|\\[^\x00-\x7f]|[*+?}]\+")


def regex_problem(pattern: str) -> str | None:
    """Why Envoy (RE2) would refuse *pattern*, which would cost every route of the port; None: it takes it.

    Careful rather than complete: what Python's `re` does not know either (`\\pL`) is refused too.
    """
    if not pattern:
        return "an empty expression matches nothing here: write one, or no match"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # `[[`: RE2 reads it as Python does today
            re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}"
    strange = _NOT_RE2.search(pattern)
    if strange:
        return f"{pattern!r} uses {strange.group()!r}, which RE2 does not know (look-around, back-reference)"
    nested, atoms = _unrolled(pattern)
    if nested > MOST_REPEATS:
        return f"{pattern!r} repeats more than {MOST_REPEATS} times, which RE2 refuses"
    if atoms > MOST_ATOMS:
        return f"{pattern!r} is longer than {MOST_ATOMS} characters once its repeats are written out"
    return None


MOST_REPEATS = 1000
"""Of a part, the repeats around it multiplied: RE2's own bound."""
MOST_ATOMS = 10_000
"""RE2 compiles up to a size in memory, which an atom of many characters (`.`) reaches far later than this."""

_TOKEN = re.compile(
    r"\\.|\[\^?\]?(?:\\.|\[:\w+:\]|[^\]\\])*\]|\{(?P<least>\d*)(?:,(?P<most>\d*))?\}|.", re.DOTALL
)


def _unrolled(pattern: str) -> tuple[int, int]:
    """The most repeats of a part of *pattern*, those of the groups around it multiplied; the atoms of all."""
    deepest, atoms = [1], [0]  # of each open group
    last = (1, 0)
    for token in _TOKEN.finditer(pattern):
        if token[0] == "(":
            deepest.append(1)
            atoms.append(0)
            continue
        if token[0] == ")" and len(atoms) > 1:
            last = deepest.pop(), atoms.pop()
        elif token["least"] or token["most"]:
            times = max(int(token["least"] or 0), int(token["most"] or 0), 1)
            atoms[-1] -= last[1]
            last = last[0] * times, last[1] * times
        else:
            last = 1, 1
        deepest[-1] = max(deepest[-1], last[0])
        atoms[-1] += last[1]
    return deepest[0], atoms[0]
