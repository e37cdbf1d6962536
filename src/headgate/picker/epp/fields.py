"""Fields of a configuration, read one by one: what is wrong is noted with its place, and reading goes on."""

import difflib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from headgate.model.problems import Place, Problem, Severity
from headgate.model.units import read_bytes, read_seconds
from headgate.picker.epp.plugins import Kind

Path = tuple[str | int, ...]
LineOf = Callable[[Path], int]
"""Path of keys and indexes → 1-based line; 0 when unknown."""
MOST_PROBLEMS = 100
"""Of each severity."""
LONGEST_WORD = 100
"""Of what a file says, as far as a message repeats it."""
MOST = 1e15

_WORDS: Mapping[Kind, str] = {
    "text": "text",
    "flag": "true or false",
    "number": "a number",
    "count": "a whole number from 0 on",
    "list": "a list",
    "map": "a mapping",
    "duration": "a duration such as 50ms or 60s",
}


class Fields:
    """One document's."""

    def __init__(self, file: str, object_name: str, line_of: LineOf) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._object = object_name
        self._line_of = line_of

    def note(self, path: Path, reason: str, message: str, severity: Severity = "error") -> None:
        """Something is wrong, or worth knowing, at *path*."""
        if sum(each.severity == severity for each in self.problems) < MOST_PROBLEMS:
            place = Place(self._file, self._line_of(path), self._object, _dotted(path))
            self.problems.append(Problem(place, reason, message, severity))

    def known(
        self, raw: object, path: Path, kinds: Mapping[str, Kind], who: str, unknown: Severity = "error"
    ) -> dict[str, Any]:
        """The fields of a mapping that are known and hold what they should; those that are null are left out.

        *who* has the fields, for messages; *unknown*: how bad one is that is not among *kinds*.
        """
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            self.note(path, "InvalidValue", f"{who} must be a mapping")
            return {}
        found: dict[str, Any] = {}
        for name, value in raw.items():
            kind = kinds.get(name, kinds.get("*"))
            if kind is None:
                near = nearest(name, kinds)
                hint = f"; did you mean {near}?" if near else f"; it has {', '.join(kinds) or 'none'}"
                end = "" if unknown == "error" else "; it has no effect"
                self.note(
                    (*path, name), "UnknownField", f"{who} has no field {short(name)}{hint}{end}", unknown
                )
            elif value is not None:
                if _holds(value, kind):
                    found[name] = value
                else:
                    self.note((*path, name), "InvalidValue", f"{name} of {who} must be {_WORDS[kind]}")
        return found

    def seconds(self, value: object, path: Path) -> float | None:
        """A duration; None when it is none, which is noted."""
        try:
            return read_seconds(str(value))
        except ValueError as error:
            self.note(path, "InvalidValue", str(error))
            return None

    def amount(self, value: object, path: Path) -> int | None:
        """A size or a number of requests, such as `1k` or `1Gi`; None when it is none, which is noted."""
        try:
            return int(value) if isinstance(value, (int, float)) else read_bytes(str(value))
        except (ValueError, OverflowError):
            said = short(str(value))
            self.note(path, "InvalidValue", f"{said} is no amount such as 5000, 1k or 1Gi")
            return None


def nearest(word: str, known: Iterable[str]) -> str | None:
    """What *word* was probably meant to be."""
    return next(iter(difflib.get_close_matches(short(word), list(known), 1, 0.75)), None)


def short(text: str) -> str:
    """As much of *text* as a message repeats."""
    return text if len(text) <= LONGEST_WORD else f"{text[:LONGEST_WORD]}…"


def _holds(value: object, kind: Kind) -> bool:
    match kind:
        case "text":
            return isinstance(value, str)
        case "flag":
            return isinstance(value, bool)
        case "number":
            return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < MOST
        case "count":
            return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST
        case "list":
            return isinstance(value, list)
        case "map":
            return isinstance(value, Mapping)
        case "duration":
            return isinstance(value, (str, int, float)) and not isinstance(value, bool)
        case "any":
            return True


def _dotted(path: Path) -> str:
    words = "".join(f"[{part}]" if isinstance(part, int) else f".{short(part)}" for part in path)
    return words.removeprefix(".")
