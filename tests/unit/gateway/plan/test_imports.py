"""What InferencePoolImports say: our entry alone, and what becomes of the pools of other clusters."""

from typing import Any

import msgspec
import pytest
from tests import manifests as manifest
from tests.manifests import Manifest, decoded
from tests.resolved import world

from headgate.gateway.plan.problems import problems_of
from headgate.gateway.plan.results.of_objects import judged, result
from headgate.gateway.settings import GatewaySettings
from headgate.model.objects import EXPORT

GROUP = "inference.networking.x-k8s.io"


def imported(*clusters: str) -> Manifest:
    controller = {"name": "example.com/hub", "exportingClusters": [{"name": each} for each in clusters]}
    return {
        "apiVersion": f"{GROUP}/v1alpha1",
        "kind": "InferencePoolImport",
        "metadata": {"name": "llm", "generation": 3},
        "status": {"controllers": [controller]},
    }


def pool(*, exported: bool) -> Manifest:
    found = manifest.pool("llm")
    found["metadata"]["annotations"] = {EXPORT: "ClusterSet"} if exported else {}
    return found


def route() -> Manifest:
    ref = {"group": GROUP, "kind": "InferencePoolImport", "name": "llm"}
    return manifest.route({"backendRefs": [ref]})


def told(*objects: Manifest) -> tuple[Any, list[str]]:
    """Status of the import, and warnings of it."""
    found = world(decoded(manifest.gateway(), *objects), GatewaySettings())
    (identity,) = [each for each in found.get(judged) if each.kind == "InferencePoolImport"]
    warnings = [each.reason for each in problems_of(found, identity)]
    return msgspec.to_builtins(found.get(result, identity)), warnings


@pytest.mark.parametrize("clusters", [("here",), ("here", "east", "west")])
def test_served_from_this_cluster_and_what_others_get(clusters: tuple[str, ...]) -> None:
    status, warnings = told(imported(*clusters), pool(exported=True), route())
    (entry,) = status["controllers"]
    assert entry["name"] == "headgate.dev/gateway-controller" and "exportingClusters" not in entry
    (parent,) = entry["parents"]
    assert parent["parentRef"]["name"] == "gate"
    accepted, resolved = parent["conditions"]
    assert (accepted["type"], accepted["status"], accepted["observedGeneration"]) == ("Accepted", "True", 3)
    assert (resolved["type"], resolved["status"]) == ("ResolvedRefs", "True")
    more = len(clusters) > 1
    assert warnings == (["OtherClusters"] if more else [])
    assert ("east, here, west" in accepted["message"]) == more


@pytest.mark.parametrize("local", [[], [pool(exported=False)]], ids=["elsewhere", "not exported"])
def test_what_cannot_be_served_is_not_accepted(local: list[Manifest]) -> None:
    status, warnings = told(imported("east", "west"), *local, route())
    ((parent,),) = [each["parents"] for each in status["controllers"]]
    (accepted,) = parent["conditions"]
    assert (accepted["status"], accepted["reason"]) == ("False", "NotSupportedByParent")
    assert ("not exported" in accepted["message"]) == bool(local)
    assert not warnings  # the route has an error


def test_no_entry_where_no_route_leads_to_it() -> None:
    assert told(imported("here", "east"), pool(exported=True)) == ({"controllers": ()}, [])


def test_what_we_wrote_is_read_again_and_changes_nothing() -> None:
    objects = (pool(exported=True), route())
    before, _ = told(imported("here", "east"), *objects)
    written = imported("here", "east")
    written["status"]["controllers"] += msgspec.json.decode(msgspec.json.encode(before["controllers"]))
    assert told(written, *objects) == told(imported("here", "east"), *objects)
