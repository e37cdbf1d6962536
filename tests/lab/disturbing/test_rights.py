"""The chart's rights are no more than are needed: with one verb less something fails, and says which."""

import json
from collections.abc import Iterator

import pytest
from tests.lab import cluster as lab

NAMESPACE = "lab-rights"
ROLE = "headgate-controller"


@pytest.fixture(scope="module", autouse=True)
def _there() -> Iterator[None]:
    with lab.namespace(NAMESPACE):
        yield


@pytest.fixture(name="rules")
def _rules() -> Iterator[list[dict[str, list[str]]]]:
    """Those of the controller's ClusterRole, restored at the end."""
    before = json.loads(lab.kubectl("get", "clusterrole", ROLE, "-o", "json"))["rules"]
    yield json.loads(json.dumps(before))
    write(before)


def write(rules: object) -> None:
    lab.kubectl("patch", "clusterrole", ROLE, "--type=merge", "-p", json.dumps({"rules": rules}))


def without(rules: list[dict[str, list[str]]], resource: str, verb: str) -> list[dict[str, list[str]]]:
    """The rules without one verb of one resource."""
    found: list[dict[str, list[str]]] = []
    for each in rules:
        if resource not in each["resources"]:
            found.append(each)
            continue
        others = [one for one in each["resources"] if one != resource]
        if others:
            found.append({**each, "resources": others})
        if verbs := [one for one in each["verbs"] if one != verb]:
            found.append({**each, "resources": [resource], "verbs": verbs})
    return found


def said(since: str) -> str:
    """What all controllers have logged."""
    where = ("-n", lab.SYSTEM, "logs", "-l", "app.kubernetes.io/name=headgate-controller")
    return lab.kubectl(*where, "--tail=-1", f"--since={since}", check=False)  # Pods come and go


@pytest.mark.parametrize(
    ("resource", "verb", "named"),
    [
        ("gateways/status", "patch", "patch of its status"),
        ("deployments", "create", "deployments"),
        ("services", "patch", "services"),
        ("serviceaccounts", "create", "serviceaccounts"),
        ("secrets", "create", "secrets"),
    ],
)
def test_what_cannot_be_written_is_named(
    rules: list[dict[str, list[str]]], resource: str, verb: str, named: str
) -> None:
    name = f"gate-{resource.replace('/', '-')}"
    write(without(rules, resource, verb))
    lab.apply(NAMESPACE, lab.gateway(name))
    lab.until(
        f"{named} to be named",
        lambda: any(
            named in line and name in line for line in said("20s").splitlines() if "forbidden" in line
        ),
    )
    write(rules)
    lab.address(NAMESPACE, name)


@pytest.mark.parametrize("resource", ["httproutes", "endpointslices", "inferencepools"])
def test_what_cannot_be_read_is_named(rules: list[dict[str, list[str]]], resource: str) -> None:
    write(without(rules, resource, "list"))
    lab.kubectl("-n", lab.SYSTEM, "rollout", "restart", f"deployment/{ROLE}")
    lab.until(
        f"{resource} to be named",
        lambda: any(f'cannot list resource \\"{resource}' in line for line in said("20s").splitlines()),
    )
    write(rules)
    lab.kubectl("-n", lab.SYSTEM, "rollout", "status", f"deployment/{ROLE}", "--timeout=90s")
