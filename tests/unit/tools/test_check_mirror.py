"""Source and tests are mirrored, and the tool that says so can say no."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]

tool = runpy.run_path(str(ROOT / "tools" / "check_mirror.py"))
missing, ELSEWHERE = tool["missing"], tool["ELSEWHERE"]


def test_every_module_has_its_test() -> None:
    assert missing(ROOT, ELSEWHERE) == []


def test_what_has_no_test_is_named(tmp_path: Path) -> None:
    package, unit = tmp_path / "src" / "headgate" / "a", tmp_path / "tests" / "unit" / "a"
    for folder in (package / "kinds", unit):
        folder.mkdir(parents=True)
    for name in ("tested", "longer", "alone", "kinds/plugin"):
        (package / f"{name}.py").write_text("def f() -> int:\n    return 1\n")
    (package / "values.py").write_text('class A:\n    """Only values."""\n')
    for name in ("tested", "a_longer", "kinds"):
        (unit / f"test_{name}.py").touch()
    assert missing(tmp_path, {}) == ["a/alone.py: no tests/unit/a/test_alone.py"]
    (tmp_path / "tests" / "live.py").touch()
    assert missing(tmp_path, {"a/alone.py": ("tests/live.py", "a process")}) == []


def test_an_exception_that_does_not_hold_is_named(tmp_path: Path) -> None:
    unit = tmp_path / "tests" / "unit"
    (tmp_path / "src" / "headgate").mkdir(parents=True)
    unit.mkdir(parents=True)
    (tmp_path / "src" / "headgate" / "a.py").write_text("def f() -> int:\n    return 1\n")
    (unit / "test_a.py").touch()
    told = missing(
        tmp_path, {"a.py": ("tests/unit/test_a.py", "why"), "gone.py": ("tests/unit/test_a.py", "why")}
    )
    assert [line.split(":")[0] for line in told] == ["a.py", "gone.py"]
