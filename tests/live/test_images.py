"""The build file of the images, as far as that can be seen without a container engine."""

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from headgate import compiled

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "images" / "Dockerfile").read_text()


def test_what_is_copied_is_there_and_reaches_the_build() -> None:
    allowed = {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines()}
    copied = re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE, re.MULTILINE)
    assert copied
    for name in " ".join(copied).split():
        assert (ROOT / name).exists(), name
        assert name in allowed, f"{name} is not let in by .dockerignore"


def test_stages_take_from_stages_before_them() -> None:
    known: set[str] = set()
    for line in DOCKERFILE.splitlines():
        for stage in re.findall(r"from=(\w+)", line):
            assert stage in known, line
        if found := re.fullmatch(r"FROM \S+ AS (\w+)", line):
            known.add(found[1])
    assert {"controller", "picker"} <= known


def test_extensions_made_in_a_checkout_fit_the_wheels_sources(tmp_path: Path) -> None:
    if compiled.unfit() is not None:
        pytest.skip("the core is not compiled here: there is no C compiler, or HEADGATE_CORE=plain")
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), "."]
    subprocess.run(wheel, cwd=ROOT, check=True, timeout=300)
    [built] = tmp_path.glob("*.whl")
    site = tmp_path / "site"
    zipfile.ZipFile(built).extractall(site)
    assert not (site / "headgate" / "_compiled").exists(), (
        "the build file takes them from a stage of their own"
    )
    shutil.copytree(compiled.FOLDER, site / "headgate" / "_compiled")
    program = "from headgate import compiled; print(compiled.__file__, compiled.in_use())"
    env = os.environ | {"PYTHONPATH": str(site), compiled.VARIABLE: "compiled"}
    said = subprocess.run(
        [sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True
    )
    assert said.stdout.split() == [str(site / "headgate" / "compiled.py"), "compiled"]
