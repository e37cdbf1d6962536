"""Files and folders → objects. Remembers the last good version of what was broken by an edit."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from headgate.io.sources.api_keys import ApiKeys
from headgate.io.sources.authorities import Authorities
from headgate.io.sources.listing import Listing, Stamp
from headgate.io.sources.reader import Reader, ReaderError
from headgate.io.sources.reading import Parsed, refused
from headgate.io.sources.resolve import hosts_of, lookup_all
from headgate.io.sources.secret_files import SecretFiles
from headgate.manifests.decode import Decoded
from headgate.model.meta import Identity
from headgate.model.objects import Object
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot

FIRST_WAIT_S = 5.0
"""Until a file that harmed the worker is read again; each time twice as long…"""
LONGEST_WAIT_S = 300.0
"""…up to this."""

KEPT = "; what was read from it before stays in force"

Found = tuple[tuple[Object, ...], tuple[Problem, ...]]
"""Objects in order of identity, and what is wrong with the files."""


def read_once(paths: Sequence[Path], resolve_s: float = 2.0) -> Snapshot:
    """Everything in *paths* as it is now; host names are resolved for at most *resolve_s* seconds."""
    with Reader() as reader:
        objects, problems = Files(paths).refresh(reader)
    objects, unread = SecretFiles().read(objects)
    authorities, more = Authorities().read(objects)
    keys, wrong = ApiKeys().read(objects)
    addresses = lookup_all(hosts_of(objects), resolve_s)
    return Snapshot(objects, addresses, (*problems, *unread, *more, *wrong), authorities, keys)


class _Harm(msgspec.Struct, frozen=True):
    """A file that harmed the worker."""

    again_at: float
    wait_s: float


class Files:
    """The objects of a set of paths, over time. Each `refresh` reads only the files that changed."""

    def __init__(self, paths: Iterable[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = tuple(paths)
        self._clock = clock
        self._listing = Listing({}, frozenset())
        self._parsed: dict[Path, Parsed] = {}
        self._good: dict[Path, dict[Identity, Object]] = {}
        self._problems: dict[Path, tuple[Problem, ...]] = {}
        self._harm: dict[Path, _Harm] = {}
        self._found: Found = ((), ())

    @property
    def folders(self) -> frozenset[Path]:
        """Where a change would show, as of the last `refresh`."""
        return self._listing.folders

    def refresh(self, reader: Reader) -> Found:
        """The objects that count now, and everything that is wrong with the files, read through *reader*."""
        if not self._paths:
            return self._found
        try:
            self._refresh(reader)
        except ReaderError as error:
            message = f"the files cannot be read: {error}{KEPT if self._parsed else ''}"
            place = Place(", ".join(map(str, self._paths)))
            objects, problems = self._found
            return objects, tuple(sorted((*problems, Problem(place, "Unreadable", message))))
        return self._found

    def _refresh(self, reader: Reader) -> None:
        listing = reader.listing(self._paths)
        now = self._clock()
        due = {path: stamp for path, stamp in listing.files.items() if self._due(path, stamp, now)}
        if listing == self._listing and not due:
            return
        emptied = [path for path, stamp in due.items() if stamp[2] == 0 and self._good.get(path)]
        read = reader.read([(path, stamp[2]) for path, stamp in due.items() if path not in emptied])
        served = {identity: each for good in self._good.values() for identity, each in good.items()}
        self._listing = listing
        self._forget(listing)
        for path in emptied:  # it is being written, or its disk is full
            self._take(path, refused(path, "Empty", "the file is empty", "when it changes"), served)
        for path, parsed in read:
            self._take(path, parsed, served)
            self._note_harm(path, parsed)
        objects, duplicates = self._merged()
        of_files = (problem for found in self._problems.values() for problem in found)
        problems = [*self._of_listing(), *duplicates, *of_files]
        self._found = objects, tuple(sorted(problems))

    def _due(self, path: Path, stamp: Stamp, now: float) -> bool:
        harm = self._harm.get(path)
        if harm is not None:
            return now >= harm.again_at
        parsed = self._parsed.get(path)
        return parsed is None or parsed.again == "soon" or self._listing.files.get(path) != stamp

    def _forget(self, listing: Listing) -> None:
        """Drop what is gone. What could not be looked at is not."""
        unseen = frozenset(listing.unseen)
        for path in [path for path in self._parsed if path not in listing.files]:
            if unseen.isdisjoint((path, *path.parents)):
                del self._parsed[path], self._good[path], self._problems[path]
                self._harm.pop(path, None)

    def _of_listing(self) -> Iterator[Problem]:
        """What could not be looked at, and whether anything of it is served on."""
        kept = [path for path in self._parsed if path not in self._listing.files]
        above = frozenset(str(each) for path in kept for each in (path, *path.parents))
        for problem in self._listing.problems:
            note = KEPT if problem.place.file in above else ""
            yield msgspec.structs.replace(problem, message=problem.message + note)

    def _note_harm(self, path: Path, parsed: Parsed) -> None:
        if parsed.again != "later":
            self._harm.pop(path, None)
            return
        before = self._harm.get(path)
        wait_s = FIRST_WAIT_S if before is None else min(2 * before.wait_s, LONGEST_WAIT_S)
        self._harm[path] = _Harm(self._clock() + wait_s, wait_s)

    def _take(self, path: Path, parsed: Parsed, served: Mapping[Identity, Object]) -> None:
        """Note what *path* says now; a broken object stands as it was *served*, a broken text as it was."""
        last = self._good.get(path, {})
        good: dict[Identity, Object] = {}
        problems: list[Problem] = []
        note = KEPT if last else ""
        for decoded in parsed.decoded:
            if decoded.may_be_any:
                problems += [_noted(problem, note) for problem in decoded.problems]
            else:
                problems += self._one(decoded, good, served)
        whole = parsed.whole and not any(each.may_be_any for each in parsed.decoded)
        if whole and not last.keys() <= good.keys() and (end := _broken_end(parsed)) is not None:
            whole = False
            message = (
                "the file may be cut off here: what it no longer has stays in force until this is mended"
            )
            problems.append(msgspec.structs.replace(end, reason="CutOff", message=message))
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


def _broken_end(parsed: Parsed) -> Problem | None:
    """An error of the last object: where a file that is being written, or was not wholly copied, may end."""
    if not parsed.decoded or parsed.decoded[-1].object is not None:
        return None
    return next((each for each in parsed.decoded[-1].problems if each.severity == "error"), None)


def _noted(problem: Problem, note: str) -> Problem:
    if problem.severity != "error":
        return problem
    return msgspec.structs.replace(problem, message=problem.message + note)


def _duplicate(ignored: Object, counts: Object) -> Problem:
    where = counts.place()
    message = f"{counts.identity} is already written at {where.file}:{where.line}; this one is ignored"
    return Problem(ignored.place(), "Duplicate", message)
