"""Files and folders → objects. Remembers the last good version of what was broken by an edit."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from headgate.io.sources.listing import Listing, Stamp
from headgate.io.sources.reader import Reader, ReaderError
from headgate.io.sources.reading import Parsed, refused
from headgate.manifests.decode import Decoded
from headgate.model.meta import Identity
from headgate.model.objects import Object
from headgate.model.problems import Place, Problem

FIRST_WAIT_S = 5.0
"""Until a file that harmed the worker is read again; each time twice as long…"""
LONGEST_WAIT_S = 300.0
"""…up to this."""

KEPT = "; what was read from it before stays in force"

Changes = Mapping[Identity, Object | None]
"""Objects that are new or others; None: gone."""


class _Harm(msgspec.Struct, frozen=True):
    """A file that harmed the worker."""

    again_at: float
    wait_s: float


class Files:
    """The objects of a set of paths, over time. Each `refresh` reads only the files that changed, and looks
    only at their objects."""

    def __init__(self, paths: Iterable[Path], clock: Callable[[], float] = time.monotonic) -> None:
        self._paths = tuple(paths)
        self._clock = clock
        self._listing = Listing({}, frozenset())
        self._good: dict[Path, dict[Identity, Object]] = {}
        self._problems: dict[Path, tuple[Problem, ...]] = {}
        """None is empty."""
        self._again: set[Path] = set()
        """To be read by the next `refresh`, too."""
        self._harm: dict[Path, _Harm] = {}
        self._writing: dict[Identity, tuple[Path, ...]] = {}
        """Which files have an object, in order; the first one's counts."""
        self._duplicates: dict[Identity, tuple[Problem, ...]] = {}
        self._touched: dict[Identity, None] = {}
        """What `refresh` is to look at."""
        self._all_problems: tuple[Problem, ...] = ()
        self.objects: dict[Identity, Object] = {}
        """Those that count, as of the last `refresh`."""

    @property
    def folders(self) -> frozenset[Path]:
        """Where a change would show, as of the last `refresh`."""
        return self._listing.folders

    def refresh(self, reader: Reader) -> tuple[Changes, tuple[Problem, ...]]:
        """What changed, and everything that is wrong with the files now, read through *reader*."""
        if not self._paths:
            return {}, ()
        try:
            return self._refresh(reader), self._all_problems
        except ReaderError as error:
            message = f"the files cannot be read: {error}{KEPT if self._good else ''}"
            place = Place(", ".join(map(str, self._paths)))
            return {}, tuple(sorted((*self._all_problems, Problem(place, "Unreadable", message))))

    def _refresh(self, reader: Reader) -> Changes:
        listing = reader.listing(self._paths)
        due = self._due(listing, self._clock())
        if listing == self._listing and not due:
            return {}
        emptied = [path for path, stamp in due.items() if stamp[2] == 0 and self._good.get(path)]
        read = reader.read([(path, stamp[2]) for path, stamp in due.items() if path not in emptied])
        self._listing = listing
        self._forget(listing)
        for path in emptied:  # it is being written, or its disk is full
            self._take(path, refused(path, "Empty", "the file is empty", "when it changes"))
        for path, parsed in read:
            self._take(path, parsed)
            self._note_harm(path, parsed)
        changes = self._merged()
        told = (*self._problems.values(), *self._duplicates.values())
        self._all_problems = tuple(
            sorted((*self._of_listing(), *(problem for some in told for problem in some)))
        )
        return changes

    def _due(self, listing: Listing, now: float) -> Mapping[Path, Stamp]:
        """What is to be read now, in order of path."""
        other = set() if listing is self._listing else listing.files.items() - self._listing.files.items()
        due = {path for path, _ in other} | {path for path in self._again if path in listing.files}
        for path, harm in self._harm.items():
            (due.add if now >= harm.again_at and path in listing.files else due.discard)(path)
        return {path: listing.files[path] for path in sorted(due)}

    def _forget(self, listing: Listing) -> None:
        """Drop what is gone. What could not be looked at is not."""
        unseen = frozenset(listing.unseen)
        for path in self._good.keys() - listing.files.keys():
            if unseen.isdisjoint((path, *path.parents)):
                self._write(path, {})
                del self._good[path]
                self._problems.pop(path, None)
                self._harm.pop(path, None)
                self._again.discard(path)

    def _of_listing(self) -> Iterator[Problem]:
        """What could not be looked at, and whether anything of it is served on."""
        kept = self._good.keys() - self._listing.files.keys()
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

    def _take(self, path: Path, parsed: Parsed) -> None:
        """Note what *path* says now; a broken object stands as it was served, a broken text as it was."""
        last = self._good.get(path, {})
        good: dict[Identity, Object] = {}
        problems: list[Problem] = []
        note = KEPT if last else ""
        for decoded in parsed.decoded:
            if decoded.may_be_any:
                problems += [_noted(problem, note) for problem in decoded.problems]
            else:
                problems += self._one(decoded, good)
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
        self._write(path, good)
        self._good[path] = good
        (self._again.add if parsed.again == "soon" else self._again.discard)(path)
        self._problems.pop(path, None)
        if problems:
            self._problems[path] = tuple(problems)

    def _write(self, path: Path, good: dict[Identity, Object]) -> None:
        """These are the objects of *path*; what says the same stays the same instance."""
        last = self._good.get(path, {})
        for identity in last.keys() - good.keys():
            left = tuple(each for each in self._writing.pop(identity) if each != path)
            if left:
                self._writing[identity] = left
            self._touched[identity] = None
        for identity, each in good.items():
            before = last.get(identity)
            if before is None:
                self._writing[identity] = tuple(sorted((*self._writing.get(identity, ()), path)))
            elif before == each and before.origin.lines == each.origin.lines:
                good[identity] = before
                continue
            self._touched[identity] = None

    def _one(self, decoded: Decoded, good: dict[Identity, Object]) -> Iterator[Problem]:
        identity, served = decoded.identity, self.objects
        if decoded.object is not None and decoded.object.identity in good:
            yield _duplicate(decoded.object, good[decoded.object.identity])
        elif decoded.object is not None:
            good[decoded.object.identity] = decoded.object
        elif identity is not None and identity in served and identity not in good:
            good[identity] = served[identity]
            yield from (_noted(p, "; its last good version stays in force") for p in decoded.problems)
            return
        yield from decoded.problems

    def _merged(self) -> Changes:
        """What counts of the objects that were touched; where files disagree the first by path wins."""
        changes: dict[Identity, Object | None] = {}
        for identity in self._touched:
            found = [self._good[path][identity] for path in self._writing.get(identity, ())]
            self._duplicates.pop(identity, None)
            if not found:
                if self.objects.pop(identity, None) is not None:
                    changes[identity] = None
                continue
            if others := tuple(_duplicate(each, found[0]) for each in found[1:]):
                self._duplicates[identity] = others
            if self.objects.get(identity) is not found[0]:
                self.objects[identity] = changes[identity] = found[0]
        self._touched = {}
        return changes


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
