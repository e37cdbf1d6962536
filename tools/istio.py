"""Istio's control plane in the lab: its own program, built from its Go module, installed by its own charts.

`python -m tools.istio COMMAND…` starts the lab with Istio and Headgate installed, runs a command there, then
takes all down; `python -m tools.istio` alone builds what is needed. Its data plane is the Envoy that Headgate
runs (see tools/lab_istio_proxy.py), so what Istio has built into its own Envoy is turned off.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tools import render_chart
from tools.lab import PATIENCE, ROOT, Lab, LabError, go_module, own_images, say, where_pods_see_it

VERSION = "v0.0.0-20260827124520-eed52ebb66ad"
"""Of its main branch, towards 1.31: Istio tags no release of its Go module."""

MODULE = f"istio.io/istio@{VERSION}"
NAMESPACE = "istio-system"

SETTINGS = (
    # Without this no pool is served.
    "pilot.env.ENABLE_GATEWAY_API_INFERENCE_EXTENSION=true",
    # What only Istio's Envoy has: filters for metrics, ALPN, and the exchange of names between proxies.
    "telemetry.enabled=false",
    "pilot.env.PILOT_ENABLE_ALPN_FILTER=false",
    "pilot.env.PILOT_ENABLE_METADATA_EXCHANGE=false",
    # There is no agent beside that Envoy, and so no certificates of the mesh.
    "meshConfig.enableAutoMtls=false",
    # A node of the lab has no size; a Pod that asks for one would be as well off.
    "autoscaleEnabled=false",
)


def program() -> Path:
    """pilot-discovery; it is built where it is not there yet. Raises LabError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "headgate"
    made = cache / "bin" / f"pilot-discovery-{VERSION}"
    if not made.exists():
        module = go_module(MODULE)
        say("building Istio's control plane (some minutes, once) ...")
        source = cache / f"istio-{os.getpid()}"  # it is a main module: what it replaces counts there only
        try:
            shutil.copytree(module, source, copy_function=shutil.copyfile)
            for folder, _, _ in os.walk(source):
                Path(folder).chmod(0o755)  # Go's cache is read-only
            command = [
                "go",
                "build",
                "-p",
                "2",
                "-trimpath",
                "-ldflags",
                "-s -w",
                "-o",
                f"{made}.{os.getpid()}",
            ]
            env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"}
            done = subprocess.run(
                ["nice", "-n", "5", *command, "./pilot/cmd/pilot-discovery"],
                cwd=source,
                env=env,
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            shutil.rmtree(source, ignore_errors=True)
        if done.returncode:
            raise LabError(f"Istio's control plane did not build: {done.stderr.strip()[-2000:]}")
        Path(f"{made}.{os.getpid()}").rename(made)
    return made


def images() -> dict[str, dict[str, object]]:
    """Part of the name of Istio's images → what stands for them, see `own_images`. Raises LabError."""
    from headgate.io.envoy.binary import find_envoy

    checkout = where_pods_see_it(ROOT)
    envoy = find_envoy()
    if envoy.is_relative_to(ROOT):
        envoy = checkout / envoy.relative_to(ROOT)
    proxy = [sys.executable, str(checkout / "tools/lab_istio_proxy.py"), str(envoy)]
    return {"/pilot:": {"command": [str(program())]}, "/proxyv2:": {"command": proxy}}


def install(lab: Lab) -> None:
    """Its charts, into a lab that runs with its `images`; returns when it is ready. Raises LabError."""
    try:
        helm = str(render_chart.find_helm())
    except LookupError as error:
        raise LabError(f"Istio is installed by its Helm charts: {error}") from None
    charts = go_module(MODULE) / "manifests" / "charts"
    say("installing Istio ...")
    sets = [part for each in SETTINGS for part in ("--set", each)]
    into = ("-n", NAMESPACE, "--create-namespace")
    lab.run(helm, "upgrade", "--install", "istio-base", str(charts / "base"), *into)
    discovery = str(charts / "istio-control" / "istio-discovery")
    lab.run(helm, "upgrade", "--install", "istiod", discovery, *into, *sets)
    lab.kubectl("-n", NAMESPACE, "wait", "--for=condition=Available", "deployment", "--all", PATIENCE)


def run(command: Sequence[str]) -> int:
    """Run a command in a lab with both. Raises LabError."""
    with Lab(f"headgate-istio-{os.getpid()}", {**own_images(), **images()}) as lab:
        lab.env["HEADGATE_LAB_ISTIO"] = "1"
        lab.install()
        install(lab)
        return subprocess.run(lab.command(*command), env=lab.env, check=False).returncode


if __name__ == "__main__":
    try:
        if len(sys.argv) < 2:
            say(f"Istio's control plane: {program()}")
            sys.exit(0)
        sys.exit(run(sys.argv[1:]))
    except LabError as error:
        sys.exit(f"lab: {error}")
