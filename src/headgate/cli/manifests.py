"""What commands say of the files and folders that they are given."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

from headgate.io.sources.listing import SUFFIXES
from headgate.model.printable import printable
from headgate.model.problems import Place, Problem
from headgate.model.snapshot import Snapshot


def manifest_paths(named: Iterable[Path], by_option: Iterable[Path]) -> tuple[Path, ...]:
    """Files and folders to read: those typed as they are, `DIR/*` too, and those of `-f`; at least one.

    Of several that are typed without `-f`, files whose names do not end as manifests do are passed over: a
    shell's `*` takes the README along.

    Raises typer.BadParameter for a path where nothing is, and when none is named.
    """
    named, files = tuple(named), tuple(by_option)
    if not named and not files:
        raise typer.BadParameter("name a file or a folder of manifests, such as gateway.yaml or manifests/")
    must_exist(named, "PATH")
    must_exist(files)
    some = tuple(path for path in named if path.is_dir() or path.name.endswith(SUFFIXES))
    return tuple(dict.fromkeys((*((some if len(named) > 1 else named) or named), *files)))


def no_path(words: Iterable[str]) -> None:
    """Raises typer.BadParameter when what should be a URL is a file or a folder."""
    for word in words:
        if word.endswith(SUFFIXES) or ("://" not in word and Path(word).exists()):
            raise typer.BadParameter(
                f"{word!r} is no URL; for manifests write -f {printable(word)}", param_hint="URL"
            )


def must_exist(files: Iterable[Path], hint: str = "-f") -> None:
    """Raises typer.BadParameter for a path where nothing is, or nothing that may be looked at."""
    for path in files:
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise typer.BadParameter(f"there is no {printable(str(path))}", param_hint=hint) from None
        except OSError as error:
            why = f"{printable(str(path))} cannot be read: {error.strerror}"
            raise typer.BadParameter(why, param_hint=hint) from None


def nothing_read(snapshot: Snapshot, files: Iterable[Path]) -> Iterator[Problem]:
    """An error when *files* hold not one object: a check of the wrong folder must not pass."""
    if not snapshot.objects and not snapshot.problems:
        places = ", ".join(map(str, files))
        message = f"no objects in {places}; a folder's files are read when they end in .yaml, .yml or .json"
        yield Problem(Place(), "NoObjects", message)
