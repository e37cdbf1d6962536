"""What `headgate check` says of mistakes that users make, word for word.

`check.yaml` holds sound manifests, and for each mistake the edits that make it (old text, new text), text to add,
and all lines that are said. HEADGATE_BLESS=1 rewrites the lines.
"""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from headgate.cli.commands.check import app

FILE = Path(__file__).parent / "check.yaml"
CASES: dict[str, Any] = yaml.safe_load(FILE.read_text())


def written(case: dict[str, Any]) -> str:
    """The manifests with the case's mistake in them."""
    text: str = CASES["sound"]
    for old, new in case.get("edits", ()):
        assert text.count(old) >= 1, f"{old!r} is not in the sound manifests"
        text = text.replace(old, new, 1)
    return text + str(case.get("added", ""))


@pytest.mark.parametrize("case", CASES["mistakes"], ids=lambda case: str(case["name"]))
def test_a_mistake_is_told_with_its_remedy(
    case: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.yaml").write_text(written(case))
    result = CliRunner().invoke(app, ["m.yaml"])
    *said, summary = result.output.splitlines()
    if os.environ.get("HEADGATE_BLESS"):
        case["says"] = said
        FILE.write_text(as_text())
    assert said == case["says"]
    assert result.exit_code == any(": error: " in line for line in said)
    assert summary.startswith(("5 ", "6 ", "7 ", "8 ", "9 ")), summary


def test_the_sound_manifests_are_sound(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    file.write_text(CASES["sound"])
    result = CliRunner().invoke(app, [str(file), "--strict"])
    assert result.exit_code == 0
    assert result.output == "6 objects, 1 listener, 1 route, 1 pool: 0 errors, 0 warnings\n"


def as_text() -> str:
    """The file, with texts of several lines as blocks."""

    class Dumper(yaml.SafeDumper):
        pass

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        style = "|" if "\n" in value.rstrip("\n") else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump(CASES, Dumper=Dumper, sort_keys=False, width=150, allow_unicode=True)
