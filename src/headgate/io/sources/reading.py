"""One file → what it says. Bounded in bytes, documents and problems; runs in the worker."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from headgate.io.sources.listing import not_regular
from headgate.io.sources.text import Document, read_documents
from headgate.manifests.decode import Decoded, decode_all
from headgate.manifests.decode import Path as FieldPath
from headgate.model.problems import Place, Problem

MAX_FILE_BYTES = 64 << 20

MAX_PROBLEMS = 1_000
"""Told of one file."""

MAX_MESSAGE = 1_000
"""Characters of a problem's message."""
MAX_PLACE = 1_000
"""Characters of a problem's object and field."""


Again = Literal["when it changes", "soon", "later"]


class Parsed(msgspec.Struct, frozen=True):
    """What one file says."""

    decoded: tuple[Decoded, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Of the text, not of an object."""
    whole: bool = True
    """False when a document, or the file, could not be read: then it may contain any object, as it may when
    one of *decoded* may be any."""
    again: Again = "when it changes"
    """When to read it again: `soon` what a file system refused, `later` what did the worker harm."""


def refused(
    path: Path, reason: str, message: str, again: Literal["when it changes", "soon", "later"]
) -> Parsed:
    """A file that may contain anything."""
    return Parsed((), (Problem(Place(str(path)), reason, message),), whole=False, again=again)


def parse_file(path: Path) -> Parsed:
    """Read one file. Every mistake in it is a problem, never an exception."""
    try:
        text = read_regular(path)
    except FileNotFoundError:
        return Parsed()
    except OSError as error:
        return refused(path, "Unreadable", f"cannot be read: {error.strerror or error}", "soon")
    except ValueError as error:
        return refused(path, "NotAFile", str(error), "soon")
    if len(text) > MAX_FILE_BYTES:
        return refused(path, "TooLarge", f"is longer than {MAX_FILE_BYTES >> 20} MiB", "when it changes")
    try:
        return parse_text(text, str(path))
    except MemoryError:
        message = "needs too much memory to be read; split it into several files"
        return refused(path, "TooLarge", message, "when it changes")


def read_regular(path: Path) -> bytes:
    """The content of a regular file, cut off behind the longest that is allowed. Never waits for a writer.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file; the message says what it is.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        mode = os.fstat(number).st_mode
        if not stat.S_ISREG(mode):
            raise ValueError(not_regular(mode))
        parts: list[bytes] = []
        left = MAX_FILE_BYTES + 1
        while left > 0 and (part := os.read(number, min(left, 1 << 20))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
    finally:
        os.close(number)


def parse_text(text: bytes, file: str) -> Parsed:
    """What the manifest *text* says; *file* is the name that problems give it."""
    decoded: list[Decoded] = []
    problems: list[Problem] = []
    whole = True
    left = MAX_PROBLEMS
    for each_document in read_documents(text, file):
        document = _torn(each_document, file) or each_document
        found = [document] if isinstance(document, Problem) else list(document.problems)
        objects = [] if isinstance(document, Problem) else _decode(document, file)
        whole = whole and not isinstance(document, Problem)
        told = len(found) + sum(len(each.problems) for each in objects)
        if told > left:  # what is not told keeps what was there all the same
            whole = whole and not any(each.may_be_any for each in objects)
            found = found[:left]
            objects = [msgspec.structs.replace(each, problems=()) for each in objects]
        left = max(0, left - told)
        problems += _clipped(found)
        decoded += (msgspec.structs.replace(each, problems=_clipped(each.problems)) for each in objects)
    if left == 0:
        message = f"has more problems than the {MAX_PROBLEMS} that are told"
        problems.append(Problem(Place(file), "TooMany", message))
    return Parsed(tuple(decoded), tuple(problems), whole)


def _decode(document: Document, file: str) -> list[Decoded]:
    """The objects of a document; a bug that it meets costs nothing but this document."""
    try:
        return decode_all(document.data, file, document.line_of)
    except MemoryError:
        raise
    except Exception as error:
        place = Place(file, document.line_of(()))
        message = f"a bug in Headgate: this document cannot be read ({error!r})"
        return [Decoded(problems=(Problem(place, "InternalError", message),))]


_IDENTITY: frozenset[FieldPath] = frozenset(
    (("apiVersion",), ("kind",), ("metadata",), ("metadata", "name"), ("metadata", "namespace"))
)


def _torn(document: Document | Problem, file: str) -> Problem | None:
    """What to say of a *document* that has two identities; None: it has one."""
    if isinstance(document, Problem):
        return None
    path = min((path for path in document.twice if _is_identity(path)), key=document.line_of, default=None)
    if path is None:
        return None
    key = str(path[-1])
    message = f"{key} is written twice, so this may be any object: is a line --- missing before it?"
    return Problem(Place(file, document.line_of(path), "", key), "InvalidValue", message)


def _is_identity(path: FieldPath) -> bool:
    """Whether the field at *path* says which object a document, or an item of its list, is."""
    while len(path) > 2 and path[0] == "items" and isinstance(path[1], int):
        path = path[2:]
    return path in _IDENTITY


def _clipped(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """*problems*, without the length that others' words may have."""
    return tuple(_clip(problem) for problem in problems)


def _clip(problem: Problem) -> Problem:
    place = problem.place
    if len(problem.message) <= MAX_MESSAGE and len(place.object) + len(place.field) <= MAX_PLACE:
        return problem
    place = msgspec.structs.replace(
        place, object=_short(place.object, MAX_PLACE), field=_short(place.field, MAX_PLACE)
    )
    return msgspec.structs.replace(problem, place=place, message=_short(problem.message, MAX_MESSAGE))


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
