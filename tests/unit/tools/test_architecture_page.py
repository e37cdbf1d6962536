"""The page about the architecture names the folders that there are."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from headgate import __file__ as package

SOURCE = Path(package).parent
PAGE = Path(__file__).parents[3] / "docs" / "architecture.md"
ROOTS = {each.name for each in SOURCE.iterdir() if each.is_dir()}


def folders() -> list[str]:
    """Every folder of the source that holds a module with something in it, `model/objects`."""
    found = {
        each.parent
        for each in SOURCE.rglob("*.py")
        if each.parent != SOURCE and "_compiled" not in each.parts
    }
    return sorted(str(each.relative_to(SOURCE)) for each in found)


def unnamed(page: str, there: Iterable[str]) -> Iterator[str]:
    """Folders that the page does not name: by their whole path, or by their last part beside their parent."""
    lines = [set(re.findall(r"`([^`]+)`", line)) for line in page.splitlines()]
    for folder in there:
        parent, _, last = folder.rpartition("/")
        in_full = any(token.startswith(f"{folder}/") for line in lines for token in line)
        if not in_full and not any({f"{parent}/", f"{last}/"} <= line for line in lines):
            yield folder


def missing(page: str) -> Iterator[str]:
    """What the page names, in tables, text or pictures, and is not there."""
    for name in re.findall(r"(?<![\w/.])(?:[a-z_]+/)+(?:[a-z_]+(?:\.py)?)?", page):
        path = SOURCE / name
        if name.partition("/")[0] in ROOTS and not (path.exists() or path.with_suffix(".py").exists()):
            yield name


def test_every_folder_is_named() -> None:
    assert list(unnamed(PAGE.read_text(), folders())) == []


def test_what_is_named_is_there() -> None:
    assert list(missing(PAGE.read_text())) == []


@pytest.mark.parametrize(
    ("page", "there", "left"),
    [
        ("| `model/` | values |", ["model", "model/objects"], ["model/objects"]),
        ("| `model/` | values; kinds in `objects/` |", ["model", "model/objects"], []),
        ("| `model/objects/` | kinds |", ["model", "model/objects"], []),
        ("| `model/` | values |\n| `io/` | `objects/` |", ["model/objects"], ["model/objects"]),
    ],
)
def test_a_folder_that_is_not_named_is_found(page: str, there: list[str], left: list[str]) -> None:
    assert list(unnamed(page, there)) == left


@pytest.mark.parametrize(
    ("page", "found"),
    [
        ("io/sources ─snapshot─► model/store", []),
        ("io/sources ─snapshot─► model/stores", ["model/stores"]),
        ("`gateway/old/`, `gateway/half.py`", ["gateway/old/"]),
        ("GET /v1/models of tests/unit/old", []),
    ],
)
def test_a_name_of_nothing_is_found(page: str, found: list[str]) -> None:
    assert list(missing(page)) == found
