"""The core's compilation, whole. `make test` compiled it before, where that can be done."""

import os
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headgate import compiled

TOOL = Path(__file__).parents[2] / "tools" / "compile_core.py"

pytestmark = pytest.mark.live

lacking = runpy.run_path(str(TOOL))["lacking"]


def test_it_is_compiled_where_it_can_be() -> None:
    if os.environ.get(compiled.VARIABLE) == "plain":
        assert compiled.in_use() == "plain"
    elif lacking() is None:
        assert compiled.unfit() is None


def test_what_does_not_build_leaves_nothing(tmp_path: Path) -> None:
    package = tmp_path / "headgate"
    ignored = shutil.ignore_patterns("__pycache__", "_compiled")
    shutil.copytree(compiled.SOURCES / "headgate", package, ignore=ignored)
    with (package / "picker" / "health.py").open("a") as file:
        file.write("WRONG: int = ''\n")
    env = os.environ | {"PYTHONPATH": str(tmp_path), compiled.VARIABLE: "auto"}
    done = subprocess.run([sys.executable, TOOL], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].endswith("plain Python is used")
    assert lacking() or "Incompatible types in assignment" in done.stdout
    assert not (package / "_compiled").exists()
