"""docs/migrating: what the pages say is to be served afterwards, is, beside what is there already."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.live.harness.processes import run_headgate

pytestmark = pytest.mark.live

FOLDER = Path(__file__).parents[2] / "docs" / "migrating"
PAGES = sorted(FOLDER.glob("from-*.md"))


def manifests(page: Path, when: str) -> list[dict[str, Any]]:
    """The objects of a page's blocks that are marked `before` or `after`."""
    blocks = re.findall(rf"^```yaml {when}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
    return [each for block in blocks for each in yaml.safe_load_all(block)]


def of(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in found if each["kind"] == kind]


def around(page: Path) -> list[dict[str, Any]]:
    """What a cluster has besides: another vendor's class, model servers, the Services of pickers."""
    [old] = of(manifests(page, "before"), "Gateway")
    meta = {"name": old["spec"]["gatewayClassName"]}
    made: list[dict[str, Any]] = [
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "GatewayClass",
            "metadata": meta,
            "spec": {"controllerName": "example.com/theirs"},
        }
    ]
    for pool in of(manifests(page, "after"), "InferencePool"):
        labels, name = pool["spec"]["selector"]["matchLabels"], pool["metadata"]["name"]
        epp = pool["spec"]["endpointPickerRef"]["name"]
        made += [
            {
                "apiVersion": "headgate.dev/v1alpha1",
                "kind": "ModelServer",
                "metadata": {"name": name, "labels": labels},
                "spec": {"url": "http://127.0.0.1:1"},
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": epp},
                "spec": {"ports": [{"port": 9002}]},
            },
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": epp, "labels": {"kubernetes.io/service-name": epp}},
                "addressType": "IPv4",
                "ports": [{"port": 9002}],
                "endpoints": [{"addresses": ["127.0.0.1"]}],
            },
        ]
    return made


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_to_be_is_served_beside_what_was(page: Path, tmp_path: Path) -> None:
    after, [old] = manifests(page, "after"), of(manifests(page, "before"), "Gateway")
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all([*around(page), old, *after]))
    done = run_headgate("check", "--strict", str(tmp_path))
    told = [line for line in done.stdout.splitlines()[:-1] if ": note: " not in line]
    assert len(told) == 1 and "[NotOurs]" in told[0] and old["metadata"]["name"] in told[0], done.stdout
    pools = len(of(after, "InferencePool"))
    assert f"1 listener, 1 route, {pools} pool" in done.stdout, done.stdout
    assert {each["kind"] for each in after} >= {"Gateway", "HTTPRoute", "GatewayParameters", "InferencePool"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_was_is_right_and_its_owners(page: Path, tmp_path: Path) -> None:
    before = manifests(page, "before")
    whole = [*around(page), *of(manifests(page, "after"), "InferencePool"), *before]
    (tmp_path / "all.yaml").write_text(yaml.safe_dump_all(whole))
    done = run_headgate("check", str(tmp_path))
    assert done.returncode == 0 and "0 listeners, 0 routes" in done.stdout, done.stdout
