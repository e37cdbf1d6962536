"""Renders deploy/manifests/headgate.yaml from the Helm chart; `--check` only compares. See `find_helm`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "headgate"
PLAIN = ROOT / "deploy" / "manifests" / "headgate.yaml"

VERSION = "v3.22.0"
NAMESPACE = "headgate-system"
KUBE_VERSION = "1.31.0"
"""Which helm is to render for, without a cluster to ask."""

HEAD = f"""# Made by tools/render_chart.py from deploy/helm/headgate with its default values; do not edit.
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
"""


def find_helm() -> Path:
    """HEADGATE_HELM, helm on the PATH, or one built from Go's module proxy into the user's cache.

    Raises LookupError where there is neither helm nor Go.
    """
    named = os.environ.get("HEADGATE_HELM") or shutil.which("helm")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headgate" / "bin"
    if not (cache / "helm").exists():
        if shutil.which("go") is None:
            raise LookupError("neither helm nor go is here; set HEADGATE_HELM, or install one of them")
        env = {**os.environ, "GOBIN": str(cache), "CGO_ENABLED": "0"}
        subprocess.run(["go", "install", f"helm.sh/helm/v3/cmd/helm@{VERSION}"], env=env, check=True)
    return cache / "helm"


def rendered(helm: Path, *more: str, namespace: str = NAMESPACE, release: str = "headgate") -> str:
    """The chart's manifests; *more* are arguments such as `--set`. Raises CalledProcessError."""
    args = [
        str(helm),
        "template",
        release,
        str(CHART),
        "-n",
        namespace,
        "--kube-version",
        KUBE_VERSION,
        *more,
    ]
    return subprocess.run(args, capture_output=True, text=True, check=True).stdout


def main() -> int:
    """Render, or compare."""
    text = HEAD + rendered(find_helm())
    if "--check" in sys.argv:
        if PLAIN.exists() and PLAIN.read_text() == text:
            return 0
        print(f"{PLAIN} is not what tools/render_chart.py makes: run it")
        return 1
    PLAIN.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
