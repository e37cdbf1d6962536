"""Which tests run over the plain form of the compiled modules."""

from pathlib import Path

from tools.core_tests import core_tests, imported


def test_who_reaches_a_compiled_module_is_named_and_nobody_else() -> None:
    found = core_tests(["tests/property", "tests/unit/picker/test_machine.py"])
    assert Path("tests/unit/picker/test_machine.py") in found
    assert Path("tests/property/test_picker_machine.py") in found
    assert Path("tests/property/test_native_bytes.py") not in found, "its modules are compiled by nobody"


def test_helpers_imports_count(tmp_path: Path) -> None:
    file = tmp_path / "test_it.py"
    file.write_text("from tests.simulation import run\n")
    assert any(name.startswith("headgate.picker") for name in imported(file))


def test_a_folder_that_is_not_there_has_none() -> None:
    assert core_tests(["tests/none"]) == []
