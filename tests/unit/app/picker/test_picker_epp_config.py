"""The file and the text that hold another picker's configuration."""

from pathlib import Path

from headgate.app.picker.epp_config import MOST_BYTES, read_config

GOOD = """apiVersion: llm-d.ai/v1alpha1
kind: EndpointPickerConfig
plugins:
- type: random-picker
"""


def error(path: Path | None, text: str = "") -> str:
    found = read_config(path, text)
    assert not found.usable
    return str(found.problems[0])


def test_a_file_and_a_text_are_read_alike(tmp_path: Path) -> None:
    path = tmp_path / "epp.yaml"
    path.write_text(GOOD)
    assert read_config(path) == read_config(None, GOOD)
    assert read_config(path).policy == "random"


def test_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "epp.yaml"
    path.write_text(GOOD + "- type: nothing\n")
    assert error(path).startswith(f"{path}:5 EndpointPickerConfig plugins[1].type: error: ")
    assert error(None, GOOD + "kind: x\n").startswith("--config-text:5")


def test_what_is_no_configuration_is_said(tmp_path: Path) -> None:
    assert "is no file" in error(tmp_path)
    assert "is no file" in error(tmp_path / "missing.yaml")
    assert "0 documents" in error(None, " ")
    assert "2 documents" in error(None, f"{GOOD}---\n{GOOD}")
    assert "not valid YAML" in error(None, "a: [")
    assert "longer than 1 MiB" in error(None, "#" * (MOST_BYTES + 1))
    assert "[TooLarge]" in error(None, "[" * 100_000)
