"""Files and folders → objects. Remembers the last good version of what was broken by an edit."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from stat import S_ISDIR

import msgspec

from headgate.io.sources.authorities import Authorities
from headgate.io.sources.resolve import hosts_of, lookup_all
from headgate.io.sources.text import Document, read_documents
from headgate.model.decode import Decoded, decode_all
from headgate.model.meta import Identity
from headgate.model.objects import Object
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot

SUFFIXES = (".yaml", ".yml", ".json")
"""Of the files read in a folder; a file that is named itself is read whatever it is called."""

MAX_FILE_BYTES = 64 << 20

Stamp = tuple[int, int, int, int]


class Listing(msgspec.Struct, frozen=True):
    """What there is to read now."""

    files: Mapping[Path, Stamp]
    """In order of path. A stamp that differs means that the file may have changed."""
    folders: frozenset[Path]
    """Where a change would show: folders walked, parents of what was named, and targets of links."""
    problems: tuple[Problem, ...] = ()
    missing: tuple[Path, ...] = ()
    """What was named and is not there."""


class Parsed(msgspec.Struct, frozen=True):
    """What one file says."""

    decoded: tuple[Decoded, ...] = ()
    problems: tuple[Problem, ...] = ()
    """Of the text, not of an object."""
    whole: bool = True
    """False when a document, or the file, could not be read: then it may contain any object, as it may when
    one of *decoded* may be any."""


def read_once(paths: Sequence[Path], resolve_s: float = 2.0) -> Snapshot:
    """Everything in *paths* as it is now; host names are resolved for at most *resolve_s* seconds."""
    objects, problems = Files(paths).refresh()
    authorities, more = Authorities().read(objects)
    return Snapshot(objects, lookup_all(hosts_of(objects), resolve_s), (*problems, *more), authorities)


def list_files(paths: Iterable[Path]) -> Listing:
    """Find the files of *paths*; folders are walked, hidden entries in them left out, links followed."""
    walk = _Walk()
    folders: set[Path] = set()
    missing: list[Path] = []
    for path in paths:
        folders |= _watchable(path)
        try:
            walk.visit(path)
        except FileNotFoundError:
            what = (
                "there is no such file or folder; waiting for it, what was read from it before stays in force"
            )
            walk.problems.append(Problem(Place(str(path)), "NotFound", what))
            missing.append(path)
    return Listing(
        files=dict(sorted(walk.files.items())),
        folders=frozenset(folders | walk.folders),
        problems=tuple(walk.problems),
        missing=tuple(missing),
    )


class _Walk:
    """One look at files and folders; what cannot be read is noted, and the rest goes on."""

    def __init__(self) -> None:
        self.files: dict[Path, Stamp] = {}
        self.folders: set[Path] = set()
        self.problems: list[Problem] = []
        self._above: set[str] = set()

    def visit(self, path: Path, suffixes: tuple[str, ...] = ("",)) -> None:
        """Note a file with one of *suffixes*, or all in a folder. Raises FileNotFoundError for neither."""
        try:
            stat = path.stat()
            if S_ISDIR(stat.st_mode):
                self._folder(path)
            elif path.name.endswith(suffixes):
                self.files[path] = _stamp(stat)
        except FileNotFoundError:
            raise
        except OSError as error:
            self.problems.append(_unreadable(path, error))

    def _folder(self, folder: Path) -> None:
        real = os.path.realpath(folder)
        if real in self._above:  # a link to a folder that it is in
            return
        self._above.add(real)
        self.folders.add(Path(real))
        for path in sorted(folder.iterdir()):
            if not path.name.startswith("."):
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile, or a link to nowhere
                    self.visit(path, SUFFIXES)
        self._above.discard(real)


def _watchable(path: Path) -> set[Path]:
    """The nearest folder that exists above *path*, and above what it links to."""
    found = set()
    for start in (path.absolute(), Path(os.path.realpath(path))):
        above = start.parent
        while not above.is_dir():
            above = above.parent
        found.add(above)
    return found


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size, stat.st_ino


def _unreadable(path: Path, error: OSError) -> Problem:
    return Problem(Place(str(path)), "Unreadable", f"cannot be read: {error.strerror or error}")


def parse_file(path: Path) -> Parsed:
    """Read one file. Every mistake in it is a problem, never an exception."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            return Parsed(
                (),
                (Problem(Place(str(path)), "TooLarge", f"is longer than {MAX_FILE_BYTES >> 20} MiB"),),
                False,
            )
        text = path.read_bytes()
    except FileNotFoundError:
        return Parsed()
    except OSError as error:
        return Parsed((), (_unreadable(path, error),), whole=False)
    return parse_text(text, str(path))


def parse_text(text: bytes, file: str) -> Parsed:
    """What the manifest *text* says; *file* is the name that problems give it."""
    decoded: list[Decoded] = []
    problems: list[Problem] = []
    whole = True
    for document in read_documents(text, file):
        match document:
            case Problem():
                problems.append(document)
                whole = False
            case Document():
                decoded += decode_all(document.data, file, document.line_of)
                problems += document.problems
    return Parsed(tuple(decoded), tuple(problems), whole)


class Files:
    """The objects of a set of paths, over time. Each `refresh` reads only the files that changed."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)
        self._listing = Listing({}, frozenset())
        self._parsed: dict[Path, Parsed] = {}
        self._good: dict[Path, dict[Identity, Object]] = {}
        self._problems: dict[Path, tuple[Problem, ...]] = {}

    @property
    def folders(self) -> frozenset[Path]:
        """Where a change would show, as of the last `refresh`."""
        return self._listing.folders

    def refresh(self) -> tuple[tuple[Object, ...], tuple[Problem, ...]]:
        """The objects that count now, in order, and everything that is wrong with the files."""
        listing = list_files(self._paths)
        served = {identity: each for good in self._good.values() for identity, each in good.items()}
        before, self._listing = self._listing.files, listing
        gone = [path for path in self._parsed if path not in listing.files]
        for path in gone:
            if not any(path.is_relative_to(missing) for missing in listing.missing):
                del self._parsed[path], self._good[path], self._problems[path]
        for path, stamp in listing.files.items():
            if path not in self._parsed or before.get(path) != stamp:
                self._take(path, self._read(path, stamp), served)
        objects, duplicates = self._merged()
        problems = [*listing.problems, *duplicates, *(p for found in self._problems.values() for p in found)]
        return objects, tuple(sorted(problems))

    def _read(self, path: Path, stamp: Stamp) -> Parsed:
        """What *path* says. One that had objects and is empty is being written, or its disk is full."""
        if stamp[2] == 0 and self._good.get(path):
            return Parsed((), (Problem(Place(str(path)), "Empty", "the file is empty"),), whole=False)
        return parse_file(path)

    def _take(self, path: Path, parsed: Parsed, served: Mapping[Identity, Object]) -> None:
        """Note what *path* says now; a broken object stands as it was *served*, a broken text as it was."""
        last = self._good.get(path, {})
        good: dict[Identity, Object] = {}
        problems: list[Problem] = []
        note = "; what was read from it before stays in force" if last else ""
        for decoded in parsed.decoded:
            if decoded.may_be_any:
                problems += [_noted(problem, note) for problem in decoded.problems]
            else:
                problems += self._one(decoded, good, served)
        whole = parsed.whole and not any(each.may_be_any for each in parsed.decoded)
        if not whole:
            for identity, kept in last.items():
                good.setdefault(identity, kept)
        problems += [_noted(problem, note) for problem in parsed.problems]
        self._parsed[path], self._good[path], self._problems[path] = parsed, good, tuple(problems)

    def _one(
        self, decoded: Decoded, good: dict[Identity, Object], served: Mapping[Identity, Object]
    ) -> Iterator[Problem]:
        identity = decoded.identity
        if decoded.object is not None and decoded.object.identity in good:
            yield _duplicate(decoded.object, good[decoded.object.identity])
        elif decoded.object is not None:
            good[decoded.object.identity] = decoded.object
        elif identity is not None and identity in served and identity not in good:
            good[identity] = served[identity]
            yield from (_noted(p, "; its last good version stays in force") for p in decoded.problems)
            return
        yield from decoded.problems

    def _merged(self) -> tuple[tuple[Object, ...], list[Problem]]:
        """All good objects, sorted; where files disagree the first by path wins."""
        merged: dict[Identity, Object] = {}
        duplicates: list[Problem] = []
        for path in sorted(self._good):
            for identity, each in self._good[path].items():
                if identity in merged:
                    duplicates.append(_duplicate(each, merged[identity]))
                else:
                    merged[identity] = each
        return tuple(merged[identity] for identity in sorted(merged)), duplicates


def _noted(problem: Problem, note: str) -> Problem:
    if problem.severity != "error":
        return problem
    return msgspec.structs.replace(problem, message=problem.message + note)


def _duplicate(ignored: Object, counts: Object) -> Problem:
    where = counts.place()
    message = f"{counts.identity} is already written at {where.file}:{where.line}; this one is ignored"
    return Problem(ignored.place(), "Duplicate", message)
