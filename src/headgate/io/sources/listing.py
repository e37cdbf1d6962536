"""Paths → which files there are to read. Bounded, and only regular files count."""

import contextlib
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from headgate.model.problems import Place, Problem, Severity

SUFFIXES = (".yaml", ".yml", ".json")
"""Of the files read in a folder; a file that is named itself is read whatever it is called."""

MAX_ENTRIES = 100_000
"""Looked at in one listing: a bound against links between folders, of which each doubles the walk."""

MAX_FOLDERS = 64
"""In each other."""

MAX_PROBLEMS = 1_000
"""Told of one listing."""

Stamp = tuple[int, int, int, int]
"""Of a file: times of modification and change in nanoseconds, size in bytes, inode."""


class Listing(msgspec.Struct, frozen=True):
    """What there is to read now."""

    files: Mapping[Path, Stamp]
    """In order of path. A stamp that differs means that the file may have changed."""
    folders: frozenset[Path]
    """Where a change would show: folders walked, parents of what was named, and targets of links."""
    problems: tuple[Problem, ...] = ()
    unseen: tuple[Path, ...] = ()
    """What was named and is not there, and what could not be looked at: nothing there is known to be gone."""


def list_files(paths: Iterable[Path]) -> Listing:
    """Find the files of *paths*; folders are walked, hidden entries in them left out, links followed."""
    walk = _Walk()
    folders: set[Path] = set()
    for path in paths:
        folders |= _watchable(path)
        walk.visit(path)
    return Listing(
        files=dict(sorted(walk.files.items())),
        folders=frozenset(folders | walk.folders),
        problems=tuple(walk.problems),
        unseen=tuple(walk.unseen),
    )


class _Walk:
    """One look at files and folders; what cannot be read is noted, and the rest goes on."""

    def __init__(self) -> None:
        self.files: dict[Path, Stamp] = {}
        self.folders: set[Path] = set()
        self.problems: list[Problem] = []
        self.unseen: list[Path] = []
        self._above: set[str] = set()
        self._left = MAX_ENTRIES

    def visit(self, path: Path) -> None:
        """Note a file, or all in a folder."""
        try:
            self._note(path)
        except FileNotFoundError:
            what = "there is no such file or folder; waiting for it"
            self._unseen(path, "NotFound", what)
        except OSError as error:
            self._unseen(path, "Unreadable", f"cannot be read: {error.strerror or error}")

    def _note(self, path: Path) -> None:
        if not _is_text(path):  # no log, page or peer could tell of it
            self._unseen(path, "NotText", "has a name that is not UTF-8 text, and is not read; rename it")
            return
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            self._folder(path)
        elif stat.S_ISREG(found.st_mode):
            self.files[path] = _stamp(found)
        else:
            self._unseen(path, "NotAFile", not_regular(found.st_mode))

    def _folder(self, folder: Path) -> None:
        real = os.path.realpath(folder)
        if real in self._above:  # a link to a folder that it is in
            return
        if len(self._above) >= MAX_FOLDERS:
            self._unseen(
                folder, "TooMany", f"stands more than {MAX_FOLDERS} folders deep and is not looked at"
            )
            return
        self._above.add(real)
        self.folders.add(Path(real))
        try:
            for name in sorted(self._names(folder)):
                if not name.startswith("."):
                    self._entry(folder / name)
        finally:
            self._above.discard(real)

    def _names(self, folder: Path) -> list[str]:
        names: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if self._left <= 0:
                    what = f"has too many entries; the first {MAX_ENTRIES} of all are looked at"
                    self._unseen(folder, "TooMany", what)
                    break
                self._left -= 1
                names.append(entry.name)
        return names

    def _entry(self, path: Path) -> None:
        """One entry of a folder: a folder, or a file with one of the suffixes; other files say nothing."""
        try:
            if path.name.endswith(SUFFIXES) or stat.S_ISDIR(path.stat().st_mode):
                self._note(path)
        except FileNotFoundError:
            if path.is_symlink():  # else it was removed meanwhile
                self._unseen(path, "NotFound", "links to nothing", "warning")
        except OSError as error:
            self._unseen(path, "Unreadable", f"cannot be read: {error.strerror or error}")

    def _unseen(self, path: Path, reason: str, what: str, severity: Severity = "error") -> None:
        self.unseen.append(path)
        if len(self.problems) < MAX_PROBLEMS:
            shown = str(path).encode(errors="backslashreplace").decode()
            self.problems.append(Problem(Place(shown), reason, what, severity))


def _is_text(path: Path) -> bool:
    """Whether the bytes of its name are UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def not_regular(mode: int) -> str:
    """What to say of a thing of this *mode* that is named like a file."""
    kinds = {
        stat.S_IFIFO: "a named pipe (FIFO)",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFDIR: "a folder",
    }
    return f"is {kinds.get(stat.S_IFMT(mode), 'something else')}; only regular files are read"


def _watchable(path: Path) -> set[Path]:
    """The nearest folder that exists above *path*, and above what it links to."""
    found = set()
    for start in (path.absolute(), Path(os.path.realpath(path))):
        above = start.parent
        while not _is_folder(above) and above != above.parent:
            above = above.parent
        found.add(above)
    return found


def _is_folder(path: Path) -> bool:
    with contextlib.suppress(OSError):  # one that may not be looked into
        return path.is_dir()
    return False


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
