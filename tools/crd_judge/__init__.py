"""Asks the API server's own code what it says of objects of CRDs, without an API server.

`main.go` beside this file is that code around a loop; Go builds it once into the user's cache. The CRDs come
from their projects' Go modules, so that nothing of theirs is kept here. Only tests use it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent

GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.1"
CRDS = (
    (GATEWAY_API, "config/crd/experimental"),
    # Newest first: a kind is taken from the first module that has it in a version.
    ("sigs.k8s.io/gateway-api-inference-extension@v1.6.0", "config/crd/bases"),
    ("sigs.k8s.io/gateway-api-inference-extension@v1.4.0", "config/crd/bases"),
    ("sigs.k8s.io/gateway-api-inference-extension@v0.3.0", "config/crd/bases"),
)
"""Module and folder. The third has InferenceObjective, the last one the pools and models of v1alpha2."""

Json = Mapping[str, Any]


def _go(*args: str, folder: Path = HERE) -> str:
    """What `go` printed. Raises LookupError without Go, RuntimeError with its words when it fails."""
    if shutil.which("go") is None:
        raise LookupError("go is not here: it builds the program that knows the rules of the CRDs")
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "auto"}
    done = subprocess.run(["go", *args], cwd=folder, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"go {args[0]}: {done.stderr.strip()[-2000:]}")
    return done.stdout


def program() -> Path:
    """The judge, built once for what its sources are. Raises LookupError where there is no Go."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headgate" / "bin"
    mark = hashlib.sha256(b"".join((HERE / each).read_bytes() for each in ("main.go", "go.sum"))).hexdigest()
    found = cache / f"crd_judge-{mark[:12]}"
    if not found.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as made:  # two may build it at once
            _go("build", "-o", f"{made}/judge", ".")
            Path(made, "judge").replace(found)
    return found


def crd_files() -> list[Path]:
    """Files with CRDs. Raises LookupError where there is no Go."""
    found = []
    for module, folder in CRDS:
        about = json.loads(_go("mod", "download", "-json", module, folder=Path(tempfile.gettempdir())))
        found += sorted((Path(about["Dir"]) / folder).glob("*k8s.io_*.yaml"))
    return found


def schemas(files: Sequence[Path]) -> dict[tuple[str, str], Json]:
    """(apiVersion, kind) → OpenAPI schema of the whole object."""
    found: dict[tuple[str, str], Json] = {}
    for file in files:
        for crd in yaml.safe_load_all(file.read_text()):
            if crd["kind"] == "CustomResourceDefinition":
                for version in crd["spec"]["versions"]:
                    key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                    found.setdefault(key, version["schema"]["openAPIV3Schema"])
    return found


def judged(objects: Sequence[Json], files: Sequence[Path]) -> Iterator[list[str]]:
    """What an API server says of each of *objects*; nothing of what it would store."""
    text = "".join(json.dumps(each) + "\n" for each in objects)
    args = [str(program()), *map(str, reversed(files))]  # the last one that has a kind counts
    done = subprocess.run(args, input=text, capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        yield json.loads(line)
