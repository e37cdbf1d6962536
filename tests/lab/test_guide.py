"""docs/getting-started-kubernetes.md, executed line by line; its first step was done before."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab import cluster as lab

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "getting-started-kubernetes.md"
NAMESPACE = "lab-guide"


def steps() -> list[tuple[str, str]]:
    """Each `sh` block with the `text` block that may follow it."""
    found: list[tuple[str, str]] = []
    for info, text in re.findall(r"^```(\w+[^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        if info == "sh":
            found.append((text, ""))
        elif info == "text":
            found[-1] = (found[-1][0], text)
    return found


@pytest.fixture(name="environ")
def _environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A user's: a namespace by default, and the command on the PATH."""
    config = tmp_path / "config"
    shutil.copy(os.environ["KUBECONFIG"], config)
    environ = {**os.environ, "KUBECONFIG": str(config), "NO_COLOR": "1", "COLUMNS": "300"}
    environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with lab.namespace(NAMESPACE):
        subprocess.run(
            ["kubectl", "config", "set-context", "--current", f"--namespace={NAMESPACE}"],
            env=environ,
            check=True,
            capture_output=True,
        )
        yield environ


def test_the_page_holds_line_by_line(environ: dict[str, str]) -> None:
    done_steps = steps()
    assert len(done_steps) >= 7
    for command, expected in done_steps:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=ROOT,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{command}\nended with {done.returncode}:\n{done.stdout}"
        at = 0
        for line in expected.splitlines():
            for part in filter(None, line.split("…")):
                place = done.stdout.find(part, at)
                assert place >= 0, f"{command}\ndid not say {part!r} where it should:\n{done.stdout}"
                at = place + len(part)
