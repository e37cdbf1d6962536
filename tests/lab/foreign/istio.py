"""A pool behind Istio's gateway whose endpoint picker is Headgate's, as docs/picker.md installs it."""

import contextlib
import json
import re
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from tests.lab import cluster as lab
from tests.lab.faults.streams import FLEET
from tests.live.harness.load import MODEL
from tests.manifests import Manifest
from tools import render_chart

PORT = 3000
POOL_GROUP = "inference.networking.k8s.io"
ADMIN = "http://127.0.0.1:15000"


def servers(name: str, replicas: int = 3, port: int = PORT) -> Manifest:
    """Simulated model servers with the label `app: name`."""
    args = [
        "--replicas",
        "1",
        "--port-base",
        str(port),
        "--host",
        "0.0.0.0",
        "--model",
        MODEL,
        "--speed",
        "5",
    ]
    made = lab.deployment(name, FLEET, port, replicas, args=args)
    made["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 30
    return made


def pool(name: str, app: str, mode: str) -> Manifest:
    """An InferencePool over the servers *app*, whose picker is the release of its name."""
    return {
        "apiVersion": f"{POOL_GROUP}/v1",
        "kind": "InferencePool",
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": app}},
            "targetPorts": [{"number": PORT}],
            "endpointPickerRef": {"name": f"{name}-picker", "port": {"number": 9002}, "failureMode": mode},
        },
    }


def destination_rule(release: str) -> Manifest:
    """Of a picker's Service, as it is told to users of Istio everywhere."""
    return {
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": f"{release}-theirs"},
        "spec": {
            "host": f"{release}-picker",
            "trafficPolicy": {"tls": {"mode": "SIMPLE", "insecureSkipVerify": True}},
        },
    }


def install(namespace: str, release: str, *values: str) -> None:
    """The chart as the picker of the pool that is called as the release."""
    helm = str(render_chart.find_helm())
    told = (f"picker.pool={release}", *values)
    sets = [part for each in told for part in ("--set", each)]
    args = [helm, "upgrade", "--install", release, str(render_chart.CHART), "-n", namespace, *sets]
    done = subprocess.run(args, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def pods(namespace: str, **labels: str) -> list[dict[str, Any]]:
    """Those that are not leaving."""
    found = lab.listed("pods", namespace, **labels)
    return [each for each in found if not each["metadata"].get("deletionTimestamp")]


def picker_pod(namespace: str, release: str) -> dict[str, Any]:
    """The only Pod of a release's picker."""
    labels = {"app.kubernetes.io/name": "headgate-picker", "app.kubernetes.io/instance": release}
    (found,) = pods(namespace, **labels)
    return found


def _said(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def asked(namespace: str, release: str, path: str) -> Any:
    """What the picker's admin API says, which listens on the loopback of its Pod."""
    pid = picker_process(namespace, release)
    return json.loads(_said("nsenter", f"--target={pid}", "--net", "curl", "-sS", f"{ADMIN}{path}"))


def picker_process(namespace: str, release: str) -> int:
    """Of the only Pod of a release's picker."""
    return process(f"--pool-name={release}", str(picker_pod(namespace, release)["status"]["podIP"]))


def process(argument: str, ip: str) -> int:
    """The process with this argument in the Pod that has this address; the lab's Pods are processes."""
    for each in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if argument in (each / "cmdline").read_text().split("\0"):
                addresses = (each / "net" / "fib_trie").read_text().split()
                if ip in addresses:
                    return int(each.name)
    raise AssertionError(f"nothing runs with {argument} at {ip}")


def answered(namespace: str, app: str) -> dict[str, int]:
    """`ip:port` of each server → requests that it says it has answered."""
    found: dict[str, int] = {}
    for each in pods(namespace, app=app):
        endpoint = f"{each['status']['podIP']}:{PORT}"
        with urllib.request.urlopen(f"http://{endpoint}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        counts = re.findall(r"^vllm:request_success_total\{.*\} ([0-9.]+)$", text, re.MULTILINE)
        found[endpoint] = sum(int(float(count)) for count in counts)
    return found
