"""docs/getting-started-kubernetes.md, executed line by line on a cluster where nothing is installed yet."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.lab import cluster as lab
from tools import render_chart
from tools.lab import go_module

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "getting-started-kubernetes.md"
NAMESPACE = "lab-guide"
OURS = ("gateway.networking.", "inference.networking.", "headgate.dev", "llm-d.ai")
"""Beginnings of the API groups whose CRDs the guide installs, and what they bring."""

RELEASES = re.compile(
    r"https://github\.com/kubernetes-sigs/([a-z-]+)/releases/download/(v[0-9.]+)/([a-z-]+)\.yaml"
)
CRDS = {"standard-install": "config/crd/standard", "manifests": "config/crd/bases"}
"""Files of releases → what they are made of, in the repository."""

Step = tuple[str, str]


def steps(part: str) -> list[Step]:
    """Each `sh` block of a part with the `text` block that may follow it. *part*: empty, or a word behind `sh`."""
    found: list[Step] = []
    counts = False
    for info, text in re.findall(r"^```(\w+[^\n]*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        words = info.split()
        if words[0] == "sh":
            counts = [each for each in words[1:] if each != "install"] == part.split()
            if counts:
                found.append((text, ""))
        elif words[0] == "text" and counts:
            found[-1] = (found[-1][0], text)
    return found


@pytest.fixture(name="environ")
def _environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    """A user's: a namespace by default, and the commands on the PATH; the cluster is empty."""
    config = tmp_path / "config"
    shutil.copy(os.environ["KUBECONFIG"], config)
    environ = {**os.environ, "KUBECONFIG": str(config), "NO_COLOR": "1", "COLUMNS": "300"}
    programs = (Path(sys.executable).parent, render_chart.find_helm().parent)
    environ["PATH"] = ":".join([*map(str, programs), os.environ["PATH"]])

    def helm(*args: str) -> str:
        done = subprocess.run(
            ["helm", "-n", lab.SYSTEM, *args], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    values = tmp_path / "values.yaml"
    values.write_text(helm("get", "values", "headgate", "-o", "yaml"))
    lab.until_unheld("headgate")  # Gateways of tests before this one may still be leaving
    helm("uninstall", "headgate")
    without_crds()
    with lab.namespace(NAMESPACE):
        lab.kubectl(
            "config", "set-context", "--current", f"--namespace={NAMESPACE}", f"--kubeconfig={config}"
        )
        try:
            yield environ
        finally:
            helm("uninstall", "headgate", "--ignore-not-found")
            without_crds()
            (crds,) = Path(os.environ["KLAB_HOME"], "crds").iterdir()
            lab.kubectl("apply", "--server-side", "-f", str(crds))
            lab.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
            helm("install", "headgate", str(render_chart.CHART), "-f", str(values))
            lab.available(lab.SYSTEM)


def without_crds() -> None:
    """As before the first step: no CRD, and thereby no object, of what the guide installs."""
    lab.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", "--all")
    names = [
        each["metadata"]["name"] for each in json.loads(lab.kubectl("get", "crd", "-o", "json"))["items"]
    ]
    mine = [each for each in names if each.partition(".")[2].startswith(OURS)]
    if mine:
        lab.kubectl("delete", "crd", *mine, "--timeout=60s")


def with_files(command: str, folder: Path) -> str:
    """The command with files in place of what the lab cannot download."""

    def file(found: re.Match[str]) -> str:
        repository, version, name = found.groups()
        parts = go_module(f"sigs.k8s.io/{repository}@{version}") / CRDS[name]
        made = folder / f"{repository}-{version}.yaml"
        made.write_text("\n---\n".join(each.read_text() for each in sorted(parts.glob("*_*.yaml"))))
        return str(made)

    return RELEASES.sub(file, command)


@pytest.mark.timeout(600)  # every block of the page, the waits in it included
@pytest.mark.parametrize("part", ["", "v1alpha2"])
def test_the_page_holds_line_by_line(part: str, environ: dict[str, str], tmp_path: Path) -> None:
    done_steps = steps(part)
    assert len(done_steps) >= 6
    for command, expected in done_steps:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", with_files(command, tmp_path)],
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
            for place_of in filter(None, line.split("…")):
                place = done.stdout.find(place_of, at)
                assert place >= 0, f"{command}\ndid not say {place_of!r} where it should:\n{done.stdout}"
                at = place + len(place_of)
    nothing_is_left()


def nothing_is_left() -> None:
    """No Pod, and no GatewayClass that waits for somebody."""

    def pods() -> list[str]:
        found = [*lab.listed("pods", NAMESPACE), *lab.listed("pods", lab.SYSTEM)]
        return [each["metadata"]["name"] for each in found]

    lab.until("every Pod to end", lambda: not pods(), 180.0)
    lab.until("the GatewayClass to go", lambda: not lab.get("gatewayclass", "", "headgate"), 10.0)
    left = json.loads(lab.kubectl("get", "deployments,services,secrets", "-n", lab.SYSTEM, "-o", "json"))[
        "items"
    ]
    names = [each["metadata"]["name"] for each in left]
    own = [name for name in names if name.startswith("headgate")]  # another release left its own here
    assert own == ["headgate-picker-tls", "headgate-xds-authority"], "as the page says"
