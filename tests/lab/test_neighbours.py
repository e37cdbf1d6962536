"""Others on the same cluster: what they wrote stays, and what is theirs is left alone."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from tests.lab import cluster as lab
from tests.manifests import Manifest
from tools import render_chart

NAMESPACE = "lab-neighbours"
OURS, OTHERS = "headgate.dev/gateway-controller", "example.com/other-headgate"
FOREIGN = {
    "parentRef": {"name": "theirs", "namespace": "elsewhere"},
    "controllerName": "example.com/foreign",
    "conditions": [
        {
            "type": "Accepted",
            "status": "True",
            "reason": "Accepted",
            "message": "written by others",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "observedGeneration": 1,
        }
    ],
}


@pytest.fixture(scope="module", name="there", autouse=True)
def _there() -> Iterator[None]:
    with lab.namespace(NAMESPACE):
        yield


def parents(kind: str, name: str) -> dict[str, dict[str, Any]]:
    """Controller → its entry in the status."""
    found = lab.get(kind, NAMESPACE, name).get("status", {}).get("parents", [])
    return {each.get("controllerName", ""): each for each in found}


def wait_for_parents(kind: str, name: str, controllers: set[str]) -> None:
    lab.until(f"entries of {controllers} at {name}", lambda: set(parents(kind, name)) == controllers)


def pool(name: str) -> Manifest:
    return lab.pool_with_picker(NAMESPACE, name, lab.LWEPP)[0]


def write_foreign(kind: str, name: str) -> None:
    """As another controller does it: its entry beside those that are there."""
    there = lab.get(kind, NAMESPACE, name)["status"]["parents"]
    patch = json.dumps({"status": {"parents": [*there, FOREIGN]}})
    args = ("patch", kind, name, "--subresource=status", "--type=merge", "-p", patch)
    lab.kubectl("-n", NAMESPACE, *args)


def test_what_others_wrote_into_a_status_stays() -> None:
    lab.apply(NAMESPACE, lab.gateway("gate"), pool("llm"), lab.route("chat", "gate", {"llm": 1}))
    for kind, name in (("httproute", "chat"), ("inferencepool", "llm")):
        wait_for_parents(kind, name, {OURS})
        write_foreign(kind, name)
    lab.apply(NAMESPACE, lab.route("chat", "gate", {"llm": 1, "gone": 1}))
    lab.until(
        "our entry to be another",
        lambda: any(
            each["reason"] == "BackendNotFound"
            for each in parents("httproute", "chat").get(OURS, {}).get("conditions", [])
        ),
    )
    assert parents("httproute", "chat")["example.com/foreign"] == FOREIGN | {
        "parentRef": {**FOREIGN["parentRef"], "group": "gateway.networking.k8s.io", "kind": "Gateway"}  # type: ignore[dict-item]
    }
    lab.kubectl("-n", NAMESPACE, "delete", "httproute", "chat")
    wait_for_parents("inferencepool", "llm", {"example.com/foreign"})


def helm(*args: str) -> None:
    done = subprocess.run(
        [str(render_chart.find_helm()), *args], capture_output=True, text=True, check=False, env=os.environ
    )
    assert done.returncode == 0, done.stderr


@pytest.fixture(name="other")
def _other() -> Iterator[None]:
    """A second installation beside the first: another release, another controllerName, the same namespace."""
    values = (
        "crds.install=false,gatewayClass.name=other,controller.replicas=1,"
        f"gatewayClass.controllerName={OTHERS}"
    )
    where = ("-n", lab.SYSTEM)
    helm("install", "other", str(render_chart.CHART), *where, "--set", values)
    try:
        lab.available(lab.SYSTEM)
        yield
        lab.until_unheld("other")
    finally:
        helm("uninstall", "other", *where)


@pytest.mark.usefixtures("other")
def test_two_installations_leave_each_other_alone() -> None:
    mine, yours = lab.gateway("mine"), lab.gateway("yours")
    yours["spec"]["gatewayClassName"] = "other"
    both = lab.route("both", "mine", {"shared": 1})
    both["spec"]["parentRefs"].append({"name": "yours"})
    lab.apply(NAMESPACE, mine, yours, pool("shared"), both)
    holders = {
        lab.get("lease", lab.SYSTEM, f"{each}-controller")["spec"]["holderIdentity"]
        for each in ("headgate", "other")
    }
    assert len(holders) == 2
    assert lab.address(NAMESPACE, "mine") != lab.address(NAMESPACE, "yours")
    for kind, name in (("httproute", "both"), ("inferencepool", "shared")):
        wait_for_parents(kind, name, {OURS, OTHERS})
    made = {
        each["metadata"]["name"]: each["metadata"]["ownerReferences"][0]["name"]
        for each in lab.listed("deployments", NAMESPACE, **{"app.kubernetes.io/name": "headgate-envoy"})
    }
    assert made == {"mine-headgate": "mine", "yours-other": "yours"} | (
        {"gate-headgate": "gate"} if "gate-headgate" in made else {}
    )
    before = lab.get("deployment", NAMESPACE, "mine-headgate")["metadata"]
    lab.kubectl("-n", NAMESPACE, "delete", "gateway", "yours")
    wait_for_parents("inferencepool", "shared", {OURS})
    lab.until("its Envoy to leave", lambda: not lab.get("deployment", NAMESPACE, "yours-other"))
    after = lab.get("deployment", NAMESPACE, "mine-headgate")["metadata"]
    assert (after["uid"], after["generation"]) == (before["uid"], before["generation"])


def test_a_gateway_of_a_class_that_does_not_exist_is_nobodys() -> None:
    stray = lab.gateway("stray")
    stray["spec"]["gatewayClassName"] = "not-installed-yet"
    lab.apply(NAMESPACE, stray, lab.gateway("after"))
    lab.address(NAMESPACE, "after")  # written later, and served
    assert not lab.get("deployment", NAMESPACE, "stray-not-installed-yet")
    conditions = lab.get("gateway", NAMESPACE, "stray")["status"]["conditions"]
    assert {each["status"] for each in conditions} == {"Unknown"}
