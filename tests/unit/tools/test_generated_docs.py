"""Generated pages are current: regenerate with the named tool when this fails."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_command_reference_is_current() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "generate_cli_docs.py"))["page"]()
    assert (ROOT / "docs" / "cli.md").read_text() == page, "run: python tools/generate_cli_docs.py"
