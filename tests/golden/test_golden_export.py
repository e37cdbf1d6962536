"""`headgate export k8s` of the quickstart, word for word. HEADGATE_BLESS=1 rewrites it."""

import os
from pathlib import Path

from typer.testing import CliRunner

from headgate.cli.commands.export import app

FILE = Path(__file__).parent / "export.yaml"
QUICKSTART = Path(__file__).parents[2] / "examples" / "quickstart"


def test_the_quickstart_is_exported_so() -> None:
    result = CliRunner().invoke(app, ["k8s", "-f", str(QUICKSTART)])
    assert result.exit_code == 0, result.output
    if os.environ.get("HEADGATE_BLESS"):
        FILE.write_text(result.stdout)
    assert result.stdout == FILE.read_text()
