"""Source and tests are mirrored, and the tool that says so can say no."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]

missing = runpy.run_path(str(ROOT / "tools" / "check_mirror.py"))["missing"]


def test_every_module_has_its_test() -> None:
    assert missing(ROOT) == []


def test_what_has_no_test_is_named(tmp_path: Path) -> None:
    package, unit = tmp_path / "src" / "headgate" / "a", tmp_path / "tests" / "unit" / "a"
    for folder in (package / "kinds", unit):
        folder.mkdir(parents=True)
    for name in ("tested", "longer", "alone", "kinds/plugin"):
        (package / f"{name}.py").write_text("def f() -> int:\n    return 1\n")
    (package / "values.py").write_text('class A:\n    """Only values."""\n')
    for name in ("tested", "a_longer", "kinds"):
        (unit / f"test_{name}.py").touch()
    assert missing(tmp_path) == ["a/alone.py: no tests/unit/a/test_alone.py"]
