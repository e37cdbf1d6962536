"""The native wire's own checks: format, clippy, tests, and the crates it is made of. Exits 1 when one fails.

The native wire is optional: without a cargo that can do it, this says so in one line and exits 0.
Usage: python tools/check_native.py
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

NATIVE = Path(__file__).parents[1] / "native"
FUZZ_CASES = "100000"
CHECKS = (
    ("fmt", "--check"),
    ("clippy", "--locked", "--quiet", "--all-targets", "--", "-D", "warnings"),
    ("test", "--locked", "--quiet", "--all-targets"),
)
ENVIRONMENT = {
    "HEADGATE_FUZZ_CASES": os.environ.get("HEADGATE_FUZZ_CASES", FUZZ_CASES),
    # Nobody debugs these builds; symbols are half of their size.
    "CARGO_PROFILE_DEV_DEBUG": "0",
}

MOST_CRATES = 100
"""In Cargo.lock, those of other systems and of tests included: who adds to it should see it."""
REGISTRY = "registry+https://github.com/rust-lang/crates.io-index"
PERMISSIVE = frozenset(
    ("Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-3-Clause", "BSL-1.0", "ISC", "MIT", "Unicode-3.0")
)


def permissive(licence: str | None) -> bool:
    """Whether an SPDX expression allows use under permissive licences alone; doubtful ones do not."""
    every = re.sub(r"[()]", "", licence or "").replace("/", " OR ").split(" AND ")
    return all(any(each.strip() in PERMISSIVE for each in part.split(" OR ")) for part in every)


def wrong(packages: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is wrong with the crates of `cargo metadata`, a line each."""
    found = [
        f"{package['name']} {package['version']}: licence {package['license']} is not on the list"
        for package in packages
        if not permissive(package["license"])
    ]
    found += [
        f"{package['name']} {package['version']}: from {package['source']}, not from crates.io"
        for package in packages
        if package["source"] not in (None, REGISTRY)
    ]
    if len(packages) > MOST_CRATES:
        found.append(f"{len(packages)} crates; {MOST_CRATES} were thought to be enough")
    return found


def twice(packages: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Crates that are there in several versions."""
    versions: defaultdict[str, list[str]] = defaultdict(list)
    for package in packages:
        versions[package["name"]].append(package["version"])
    return {name: all_of_it for name, all_of_it in versions.items() if len(all_of_it) > 1}


def yanked(said: str) -> list[str]:
    """The crates that `cargo package` warns of."""
    names = re.findall(r"package `([^`]+)` .*is yanked", said)
    return [f"{name}: yanked from the registry" for name in names]


def lacking() -> str | None:
    """Why nothing can be checked here."""
    if shutil.which("cargo") is None:
        return "there is no cargo"
    wanted = tomllib.loads((NATIVE / "Cargo.toml").read_text())["package"]["rust-version"]
    told = _cargo("--version").stdout.split()[1]
    if _numbers(told) < _numbers(wanted):
        return f"cargo is {told}, {wanted} is needed"
    for command in ("fmt", "clippy"):
        if _cargo(command, "--version").returncode:
            return f"cargo has no {command}"
    return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)[:3]]


def _cargo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["cargo", *arguments], cwd=NATIVE, capture_output=True, text=True, check=False)


def check_crates() -> list[str]:
    """What is wrong with the crates; says what was looked at."""
    told = _cargo("metadata", "--locked", "--format-version", "1")
    if told.returncode:
        return [told.stderr.strip()]
    packages = json.loads(told.stdout)["packages"]
    with tempfile.TemporaryDirectory() as folder:
        # Nothing is published: packaging is what asks the registry about every version in Cargo.lock.
        options = ("--locked", "--no-verify", "--allow-dirty", "--target-dir", folder)
        asked = _cargo("package", *options)
    found = wrong(packages) + yanked(asked.stderr)
    if not found:
        fresh = "none yanked" if asked.returncode == 0 else "the registry could not be asked for yanked ones"
        several = ", ".join(" ".join((name, *versions)) for name, versions in twice(packages).items())
        counted = f"{len(packages)} crates, licences permissive, {fresh}"
        print(f"native wire: {counted}; in several versions: {several or 'none'}")
    return found


def main() -> int:
    """The exit status."""
    reason = lacking()
    if reason is not None:
        print(f"native wire: its own checks are skipped, {reason}")
        return 0
    for check in CHECKS:
        status = subprocess.run(["cargo", *check], cwd=NATIVE, env=os.environ | ENVIRONMENT, check=False)
        if status.returncode:
            return 1
    found = check_crates()
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
