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


_NOT_RE2 = re.compile(r"\(\?(?!:|P<|[imsU]+\)|[imsU]+:)|\\[1-9]|\\Z|[*+?}]\+")


def regex_problem(pattern: str) -> str | None:
    """Why Envoy (RE2) would refuse *pattern*, which would cost every route of the port; None: it takes it.

    Careful rather than complete: what Python's `re` does not know either (`\\pL`) is refused too.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # `[[`: RE2 reads it as Python does today
            re.compile(pattern)
    except re.error as error:
        return f"{pattern!r} is no regular expression: {error}"
    strange = _NOT_RE2.search(pattern)
    if strange:
        return f"{pattern!r} uses {strange.group()!r}, which RE2 does not know (look-around, back-reference)"
    if any(
        int(number) > 1000 for number in re.findall(r"\{,?(\d+)", pattern) + re.findall(r",(\d+)\}", pattern)
    ):
        return f"{pattern!r} repeats more than 1000 times, which RE2 refuses"
    return None
