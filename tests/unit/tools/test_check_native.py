"""What the native wire's checks say of its crates, and that they can say no."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
TOOL = ROOT / "tools" / "check_native.py"

tool = runpy.run_path(str(TOOL))


def package(**fields: Any) -> dict[str, Any]:
    made = {"name": "a", "version": "1.0.0", "license": "MIT", "source": tool["REGISTRY"]}
    return made | fields


@pytest.mark.parametrize(
    ("licence", "allowed"),
    [
        ("MIT", True),
        ("MIT/Apache-2.0", True),
        ("MIT OR LGPL-2.1-or-later", True),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", True),
        ("Apache-2.0 WITH LLVM-exception", True),
        ("GPL-3.0-only", False),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR Apache-2.0) AND (MPL-2.0 OR GPL-3.0-only)", False),
        ("", False),
        (None, False),
    ],
)
def test_permissive_licences(licence: str | None, allowed: bool) -> None:
    assert tool["permissive"](licence) is allowed
    assert bool(tool["wrong"]([package(license=licence)])) is not allowed


def test_crates_come_from_the_registry_and_are_not_too_many() -> None:
    own = package(source=None)
    assert tool["wrong"]([own, package()]) == []
    (line,) = tool["wrong"]([own, package(name="b", source="git+https://example.com/b")])
    assert line.startswith("b 1.0.0: from git+")
    assert tool["wrong"]([package()] * 100) == []
    (line,) = tool["wrong"]([package()] * 101)
    assert line.startswith("101 crates")


def test_several_versions_are_listed() -> None:
    crates = [package(), package(name="b"), package(version="2.0.0")]
    assert tool["twice"](crates) == {"a": ["1.0.0", "2.0.0"]}


def test_yanked_versions_are_read_from_what_cargo_says() -> None:
    said = (
        "   Packaging y v0.1.0\n    Updating crates.io index\n"
        "warning: package `slab v0.4.10` in Cargo.lock is yanked in registry `crates-io`, consider updating\n"
    )
    assert tool["yanked"](said) == ["slab v0.4.10: yanked from the registry"]
    assert tool["yanked"]("warning: manifest has no documentation\n") == []


def test_without_cargo_they_are_skipped_in_one_line() -> None:
    told = subprocess.run(
        [sys.executable, str(TOOL)], env={"PATH": ""}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout == "native wire: its own checks are skipped, there is no cargo\n"


def test_an_old_cargo_is_named(tmp_path: Path) -> None:
    old = tmp_path / "cargo"
    old.write_text("#!/bin/sh\necho cargo 1.75.0 \\(abc 2024-01-01\\)\n")
    old.chmod(0o755)
    told = subprocess.run(
        [sys.executable, str(TOOL)],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert "cargo is 1.75.0, 1.85 is needed" in told.stdout
