"""Which form of the core runs: the extensions while they fit their sources, plain Python otherwise.

Each test has a copy of the package. Its extensions are no extensions: importing one says that it was chosen.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from headgate import compiled
from headgate.picker import machine

TOOL = Path(__file__).parents[2] / "tools" / "compile_core.py"
MACHINE = "import headgate.picker.machine as it; print(it.__file__)"
IN_USE = "from headgate import compiled; print(compiled.in_use())"


class Copy:
    """The package elsewhere, and what a process says that runs it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.package = folder / "headgate"
        self.compiled = self.package / "_compiled"
        ignored = shutil.ignore_patterns("__pycache__", "_compiled")
        shutil.copytree(compiled.SOURCES / "headgate", self.package, ignore=ignored)

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in os.environ.items() if name != "HEADGATE_CORE"}
        env = kept | {"PYTHONPATH": str(self.folder)} | env
        return subprocess.run([sys.executable, *words], env=env, capture_output=True, text=True, check=False)

    def says(self, code: str, **env: str) -> str:
        done = self.run("-c", code, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def build(self) -> None:
        """Every source counts, extensions of all modules are there."""
        for name in (*compiled.MODULES, compiled.SHARED):
            path = self.compiled / compiled.extension(name).relative_to(compiled.FOLDER)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("no extension")
        sources = sorted(self.package.rglob("*.py"))
        lines = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(self.folder)}\n"
            for path in sources
        ]
        (self.compiled / "SHA256SUMS").write_text("".join(lines))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture
def built(copy: Copy) -> Copy:
    copy.build()
    return copy


def _is_plain(copy: Copy, **env: str) -> bool:
    source = str(copy.package / "picker" / "machine.py")
    return copy.says(IN_USE, **env) == "plain" and copy.says(MACHINE, **env) == source


@pytest.mark.parametrize("asked", ["auto", "compiled", ""])
def test_extensions_that_fit_are_used(built: Copy, asked: str) -> None:
    assert built.says(IN_USE, HEADGATE_CORE=asked) == "compiled"
    done = built.run("-c", MACHINE, HEADGATE_CORE=asked)
    assert done.returncode == 1
    assert "ImportError" in done.stderr
    assert str(built.compiled) in done.stderr


def test_what_was_never_built_is_plain(copy: Copy) -> None:
    assert _is_plain(copy)


def test_plain_is_honoured(built: Copy) -> None:
    assert _is_plain(built, HEADGATE_CORE="plain")


@pytest.mark.parametrize("name", ["picker/ledger.py", "model/load.py", "compiled.py"])
def test_a_changed_source_makes_all_plain(built: Copy, name: str) -> None:
    """Also one that is not compiled: its types are compiled in."""
    with (built.package / name).open("a") as file:
        file.write("\n")
    assert _is_plain(built)


def test_a_source_that_is_gone_makes_all_plain(built: Copy) -> None:
    (built.package / "sim" / "presets.py").unlink()
    assert _is_plain(built)


@pytest.mark.parametrize("name", [compiled.MODULES[0], compiled.MODULES[-1], compiled.SHARED])
def test_a_missing_extension_makes_all_plain(built: Copy, name: str) -> None:
    (built.compiled / compiled.extension(name).relative_to(compiled.FOLDER)).unlink()
    assert _is_plain(built)


def test_insisting_in_vain_is_an_error(copy: Copy) -> None:
    done = copy.run("-c", MACHINE, HEADGATE_CORE="compiled")
    assert done.returncode == 1
    assert "CoreError: the compiled core is not built; `make setup`" in done.stderr
    done = copy.run("-m", "headgate", "picker", "--endpoints", "127.0.0.1:1", HEADGATE_CORE="compiled")
    assert done.returncode == 1
    assert done.stderr.startswith("headgate: the compiled core is not built")
    assert len(done.stderr.splitlines()) == 1


def test_unknown_words_are_errors(built: Copy) -> None:
    done = built.run("-c", MACHINE, HEADGATE_CORE="fast")
    assert done.returncode == 1
    assert "HEADGATE_CORE is 'fast'; it can be compiled, plain or auto" in done.stderr


def test_what_does_not_need_the_core_does_not_look(copy: Copy) -> None:
    assert copy.run("-m", "headgate", "--version", HEADGATE_CORE="compiled").returncode == 0


def test_this_process_runs_what_is_said() -> None:
    of_source = str(compiled.SOURCES / "headgate" / "picker" / "machine.py")
    of_extension = str(compiled.extension("headgate.picker.machine"))
    assert machine.__file__ == (of_source if compiled.in_use() == "plain" else of_extension)


@pytest.mark.parametrize(("asked", "code"), [("auto", 0), ("compiled", 1)])
def test_without_a_compiler_one_line_says_so(copy: Copy, asked: str, code: int) -> None:
    done = copy.run(str(TOOL), HEADGATE_CORE=asked, CC="no-such-compiler")
    assert done.stdout.splitlines() == [
        "compiled core: not built, there is no C compiler (no-such-compiler); plain Python is used"
    ]
    assert (done.returncode, done.stderr) == (code, "")


def test_what_fits_is_not_built_again(built: Copy) -> None:
    done = built.run(str(TOOL), CC="no-such-compiler")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
