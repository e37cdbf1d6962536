"""The private folder of a `headgate run`: its path fits Unix sockets, and a killed run's is removed later."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "headgate-"
LOCK = "lock"

LONGEST_PATH = 80
"""Bytes of the folder's path: a Unix socket's address takes 107, and the longest name in it has its own."""


class FolderError(Exception):
    """No folder can be made; the message says what to set."""


@contextmanager
def private_folder(short: Path = Path("/tmp")) -> Iterator[Path]:  # noqa: S108 - mkdtemp's name is unguessable
    """A new folder that only this user reads, removed with the context.

    It is made where the system keeps temporary files, or in *short* where that path is too long for sockets.
    Folders that killed runs of this user left behind are removed first.

    Raises:
        FolderError: neither place can be written to.
    """
    base = _base(short)
    remove_leftovers(base)
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=base))
    except OSError as error:
        raise FolderError(_advice(f"{base}: {error.strerror}")) from None
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            Path(lock.name).rename(folder / LOCK)  # whoever sees it sees it locked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(base: Path) -> None:
    """Remove folders of this user in *base* whose run is over: its lock went with it."""
    for folder in base.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)


def _base(short: Path) -> Path:
    try:
        base = Path(tempfile.gettempdir()).absolute()
    except OSError as error:
        raise FolderError(_advice(error.strerror or str(error))) from None
    return base if len(os.fsencode(base)) + len(PREFIX) + 8 <= LONGEST_PATH else short


def _advice(why: str) -> str:
    return f"no folder for temporary files can be made ({why}): set TMPDIR to one that can be written to"
