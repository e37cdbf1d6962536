"""What commands say of the files and folders that `-f` names."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot


def must_exist(files: Iterable[Path]) -> None:
    """Raises typer.BadParameter for a path where nothing is."""
    for path in files:
        if not path.exists():
            raise typer.BadParameter(f"there is no {path}", param_hint="-f")


def nothing_read(snapshot: Snapshot, files: Iterable[Path]) -> Iterator[Problem]:
    """An error when *files* hold not one object: a check of the wrong folder must not pass."""
    if not snapshot.objects and not snapshot.problems:
        places = ", ".join(map(str, files))
        message = f"no objects in {places}; a folder's files are read when they end in .yaml, .yml or .json"
        yield Problem(Place(), "NoObjects", message)
