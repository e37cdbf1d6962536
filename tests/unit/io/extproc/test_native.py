"""The native module is what its hand-written stub says, and the wire is chosen as asked."""

import ast
import datetime
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headgate.io.extproc.native import VARIABLE, MissingError, is_stale, load, sources
from headgate.io.extproc.tls import self_signed
from headgate.wire.extproc import Settings
from headgate.wire.native import native_settings

native = pytest.importorskip("headgate_native")

STUB = Path(__file__).parents[4] / "native" / "headgate_native.pyi"


def _parameters(node: ast.FunctionDef) -> list[str]:
    arguments = [each.arg for each in node.args.args if each.arg not in ("self", "cls")]
    return [*arguments, *(f"*{each.arg}" for each in node.args.kwonlyargs)]


def _stub() -> dict[str, object]:
    """Names of the stub: functions with their parameters, classes with their members, constants as None."""
    found: dict[str, object] = {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = _parameters(node)
        elif isinstance(node, ast.ClassDef):
            found[node.name] = {
                each.name: None if each.decorator_list else _parameters(each)
                for each in node.body
                if isinstance(each, ast.FunctionDef)
            }
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is None:
            found[node.target.id] = None
    return found


def _signature(built: object) -> list[str]:
    signature = inspect.signature(built)  # type: ignore[arg-type]
    named = [each for each in signature.parameters.values() if each.name != "self"]
    return [f"*{each.name}" if each.kind is each.KEYWORD_ONLY else each.name for each in named]


def _members(built: type) -> dict[str, object]:
    found: dict[str, object] = {"__new__": _signature(built)}
    for name, member in vars(built).items():
        if not name.startswith("_"):
            found[name] = _signature(member) if callable(member) else None
    return found


def test_the_stub_is_the_module() -> None:
    built: dict[str, object] = {"__version__": None}
    for name in dir(native):
        value = getattr(native, name)
        if name.startswith("_") or inspect.ismodule(value):
            continue
        if inspect.isclass(value):
            built[name] = _members(value)
        else:
            built[name] = _signature(value) if callable(value) else None
    assert built == _stub()


def test_the_stub_is_what_type_checkers_see() -> None:
    installed = Path(native.__file__).with_suffix(".pyi")
    assert installed.read_text() == STUB.read_text()


def test_the_wire_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load("native") is native
    assert load("portable") is None
    monkeypatch.setenv(VARIABLE, "portable")
    assert load() is None
    monkeypatch.delenv(VARIABLE)
    assert load() is native
    with pytest.raises(ValueError, match="native, portable or auto"):
        load("fast")


def test_without_the_module_auto_means_portable_and_native_is_refused() -> None:
    """In an interpreter that cannot import it."""
    code = """
import sys
sys.modules["headgate_native"] = None
from headgate.io.extproc.native import MissingError, load
assert load("auto") is None
try:
    load("native")
except MissingError as error:
    assert "make setup" in str(error)
else:
    raise SystemExit("not refused")
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_a_module_of_other_sources_is_not_used(tmp_path: Path) -> None:
    """After a change of the sources without a build: the two sides of the border may not fit."""
    assert not is_stale(native), "the module here is built from the sources here"
    (tmp_path / "src" / "deep").mkdir(parents=True)
    for name in ("Cargo.toml", "Cargo.lock", "build.rs", "src/lib.rs", "src/deep/more.rs"):
        (tmp_path / name).write_text(name)
    before = sources(tmp_path)
    (tmp_path / "src" / "deep" / "more.rs").write_text("another")
    assert sources(tmp_path) != before
    assert is_stale(native, tmp_path)
    (tmp_path / "Cargo.toml").unlink()
    assert not is_stale(native, tmp_path), "installed without a checkout: nothing to compare"


def test_a_stale_module_is_told_of_and_refused_where_it_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(native, "SOURCES", "0" * 16)
    with caplog.at_level("WARNING"):
        assert load("auto") is None
    assert "built from other sources; `make setup`" in caplog.text
    with pytest.raises(MissingError, match="make setup"):
        load("native")


def test_certificates_that_cannot_be_used_are_refused() -> None:
    made = native.Server(
        _settings(),
        threads=1,
        max_connections=1,
        max_streams=1,
        max_message_bytes=1,
        backlog=1,
        ping_s=1.0,
        idle_s=1.0,
    )
    pair = self_signed(datetime.datetime.now(datetime.UTC))
    with pytest.raises(ValueError, match="no certificate"):
        made.set_tls(b"", pair.key)
    with pytest.raises(ValueError, match="private key"):
        made.set_tls(pair.chain, b"nonsense")
    with pytest.raises(ValueError, match=r"1\.2 and 1\.3"):
        made.set_tls(pair.chain, pair.key, min_version="1.1")
    made.stop(0.0)


def _settings() -> dict[str, Any]:
    return native_settings(Settings("n"))
