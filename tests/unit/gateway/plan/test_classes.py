"""Which GatewayClasses are ours, and whether Gateways have them."""

from tests import manifests as manifest
from tests.manifests import Manifest

from headgate.gateway.half import GatewayHalf
from headgate.gateway.plan.classes import Claim
from headgate.gateway.settings import CONTROLLER, GatewaySettings
from headgate.model.snapshot import follow


def its_class(name: str, controller: str = CONTROLLER) -> Manifest:
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": name, "uid": f"uid-{name}"},
        "spec": {"controllerName": controller},
    }


def gateway(name: str, class_name: str) -> Manifest:
    made = manifest.gateway()
    made["metadata"]["name"] = name
    made["spec"]["gatewayClassName"] = class_name
    return made


def test_a_class_is_in_use_from_its_first_gateway_to_its_last() -> None:
    half = GatewayHalf(GatewaySettings(), follow_results=True)

    def claims(*found: Manifest) -> dict[str, Claim | None]:
        follow(half.world, manifest.snapshot(*found))
        return {each.name: claim for each, claim in half.refresh(0.0).claims.items()}

    ours, other = its_class("ours"), its_class("other", "example.com/other")
    one, two, theirs = gateway("one", "ours"), gateway("two", "ours"), gateway("theirs", "other")
    assert claims(ours, other, theirs) == {"ours": Claim("uid-ours", False)}
    assert claims(ours, other, theirs, one) == {"ours": Claim("uid-ours", True)}
    assert claims(ours, other, theirs, one, two) == {}, "nothing new"
    assert claims(ours, other, theirs, two) == {}
    assert claims(ours, other, theirs) == {"ours": Claim("uid-ours", False)}
    assert claims(other, theirs) == {"ours": None}
