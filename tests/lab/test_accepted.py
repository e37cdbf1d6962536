"""The API server takes what `headgate export k8s` prints and what the pages about moving say."""

from pathlib import Path

import pytest
import yaml
from tests.lab import cluster as lab
from tests.live.harness.processes import run_headgate
from tests.live.test_migrating_pages import PAGES, manifests
from tools.render_chart import PLAIN

ROOT = Path(__file__).parents[2]
FORMER = ROOT / "examples" / "kubernetes-v1alpha2"
"""The lab has no CRD for its pool; the guide about it is a test of its own."""
EXAMPLES = sorted({each.parent for each in (ROOT / "examples").rglob("*.yaml")} - {FORMER})


def refused(text: str, *namespace: str) -> str:
    """What the server says against these manifests, which it would otherwise take; nothing is kept. Without a
    *namespace* each of them says its own."""
    where = [part for each in namespace for part in ("-n", each)]
    how = ("--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict")
    args = ("apply", *how, *where, "-f", "-")
    try:
        said = lab.kubectl(*args, text=text)
    except AssertionError as error:
        return str(error)
    count = len([each for each in yaml.safe_load_all(text) if each])
    lines = said.splitlines()
    return "" if len(lines) == count and all("serverside-applied" in line for line in lines) else said


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda each: each.name)
def test_what_export_prints_is_taken(example: Path) -> None:
    done = run_headgate("export", "k8s", "-f", str(example))
    assert done.returncode == 0, done.stderr
    assert not refused(done.stdout, "default")


@pytest.mark.parametrize("page", PAGES, ids=lambda each: each.stem)
def test_what_the_pages_about_moving_say_is_taken(page: Path) -> None:
    assert not refused(yaml.safe_dump_all(manifests(page, "after")), "default")


def test_the_manifests_without_helm_are_taken() -> None:
    assert not refused(PLAIN.read_text())


def test_it_would_say_so() -> None:
    wrong = "apiVersion: headgate.dev/v1alpha1\nkind: FlowPolicy\nmetadata: {name: a}\nspec: {targetRef: b}\n"
    assert "targetRef" in refused(wrong, "default")
