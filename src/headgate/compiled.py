"""In which form the core's hot modules run: as the extensions that mypyc made of them, or as plain Python.

`tools/compile_core.py` puts the extensions into a folder of their own. They are used all together, and only
while every source that they were made from is unchanged; otherwise Python finds the sources, as ever.
"""

import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Literal

MODULES = (
    "headgate.app.picker.decision_log",
    "headgate.flow.accounts",
    "headgate.flow.control",
    "headgate.flow.drain",
    "headgate.flow.lanes",
    "headgate.flow.queue",
    "headgate.flow.tally",
    "headgate.io.extproc.hub",
    "headgate.io.extproc.native_wire",
    "headgate.io.web.counts",
    "headgate.picker.bookings",
    "headgate.picker.bindings",
    "headgate.picker.case",
    "headgate.picker.claims",
    "headgate.picker.concerns",
    "headgate.picker.correction",
    "headgate.picker.evicting",
    "headgate.picker.fleet",
    "headgate.picker.headroom",
    "headgate.picker.health",
    "headgate.picker.kept_answers",
    "headgate.picker.ledger",
    "headgate.picker.liveness",
    "headgate.picker.machine",
    "headgate.picker.member",
    "headgate.picker.pace",
    "headgate.picker.queue_guess",
    "headgate.picker.waiting",
    "headgate.scheduling.scheduler",
    "headgate.scheduling.state",
)
"""What is compiled, as one group. Modules with msgspec structs cannot be: mypyc drops their options."""
GROUP = "headgate.compiled"
SHARED = f"{GROUP}__mypyc"
"""mypyc's module with the code of all; the others are doors to it."""

VARIABLE = "HEADGATE_CORE"
SOURCES = Path(__file__).parents[1]
FOLDER = Path(__file__).with_name("_compiled")
SUMS = FOLDER / "SHA256SUMS"
"""The sources that the extensions were made from, as `sha256sum` writes and checks them in `SOURCES`."""


class CoreError(ImportError):
    """The form that was asked for cannot be had."""


def in_use() -> Literal["compiled", "plain"]:
    """The form that this process runs. Raises CoreError as `plain_because` does."""
    return "compiled" if plain_because() is None else "plain"


@cache
def plain_because() -> str | None:
    """Why the core runs as plain Python; None: it runs compiled.

    Raises CoreError when `HEADGATE_CORE` is `compiled` and that cannot be, or is an unknown word.
    """
    wanted = asked()
    if wanted == "plain":
        return "asked for"
    fault = unfit()
    if fault is not None and wanted == "compiled":
        raise CoreError(f"the compiled core is {fault}; `make setup` builds it where a C compiler is")
    return fault


def asked() -> str:
    """What `HEADGATE_CORE` says: `compiled`, `plain` or `auto`. Raises CoreError for other words."""
    word = os.environ.get(VARIABLE) or "auto"
    if word not in ("compiled", "plain", "auto"):
        raise CoreError(f"{VARIABLE} is {word!r}; it can be compiled, plain or auto")
    return word


def unfit() -> str | None:
    """What is wrong with the extensions, if anything."""
    try:
        lines = SUMS.read_text().splitlines()
        if not all(extension(name).is_file() for name in (*MODULES, SHARED)):
            return "not built"
    except FileNotFoundError:
        return "not built"
    paths = [line.partition("  ")[2] for line in lines]
    return None if lines == sums(paths) else "built from other sources"


def sums(paths: Sequence[str]) -> list[str]:
    """The lines of `SUMS` for these files of `SOURCES`, without those that are not there."""
    import hashlib  # not when the package is imported: most verbs come without

    found = [(path, SOURCES / path) for path in paths]
    return [f"{hashlib.sha256(at.read_bytes()).hexdigest()}  {path}" for path, at in found if at.is_file()]


def extension(module: str) -> Path:
    """Where the extension of *module* lies."""
    return FOLDER / f"{module.replace('.', '/')}{EXTENSION_SUFFIXES[0]}"


class Finder:
    """Finds the extensions while the core runs compiled."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder`."""
        if fullname in (*MODULES, SHARED) and plain_because() is None:
            return spec_from_file_location(fullname, extension(fullname))
        return None


def install() -> None:
    """Let this process find the extensions; nothing is read before the first of the modules is imported."""
    sys.meta_path.insert(0, Finder())
