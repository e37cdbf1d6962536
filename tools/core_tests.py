"""Prints the test files of some folders whose imports reach a compiled module: they run in plain form too.

For `make test`. A file counts when it imports such a module or one of ours that does, itself or through a
helper under `tests/`.
"""

import ast
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import grimp

from headgate.compiled import MODULES

ROOT = Path(__file__).parents[1]


def reaching(modules: tuple[str, ...]) -> frozenset[str]:
    """*modules*, and every module of ours that imports one of them, however far down."""
    graph = grimp.build_graph("headgate", cache_dir=None)
    return frozenset(modules).union(*(graph.find_downstream_modules(module) for module in modules))


@cache
def imported(file: Path) -> frozenset[str]:
    """What a test file names in its imports, and what the test helpers that it imports name in theirs."""
    names = frozenset(_named(file))
    helpers = (_helper(name) for name in names)
    return names.union(*(imported(helper) for helper in helpers if helper is not None and helper != file))


def core_tests(folders: Iterable[str]) -> list[Path]:
    """The files in *folders*, or named themselves, both relative to the repository; in order."""
    core = reaching(MODULES)
    files = (file for folder in folders for file in _tests(ROOT / folder) if imported(file) & core)
    return [file.relative_to(ROOT) for file in files]


def _tests(path: Path) -> list[Path]:
    return [path] if path.is_file() else sorted(path.rglob("test_*.py"))


def _named(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _helper(name: str) -> Path | None:
    if not name.startswith("tests."):
        return None
    path = ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


if __name__ == "__main__":
    print(*core_tests(sys.argv[1:]))
