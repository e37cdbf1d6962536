"""What a Gateway is run by: names, overrides, and what no override can change."""

import json
from typing import Any

import pytest
from tests import manifests as manifest

from headgate.gateway.half import GatewayHalf, Update
from headgate.gateway.provision.objects import MAX_NAME, Wanted, labels_of, name_of
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.gateway.settings import GatewaySettings
from headgate.model.objects import Gateway
from headgate.model.snapshot import follow

TOLD = ProvisionSettings(xds_host="headgate-controller.headgate-system.svc", xds_port=18000, image="envoy:1")


def gateway(name: str = "gate", **spec: Any) -> manifest.Manifest:
    made = manifest.gateway(name)
    made["metadata"] |= {"namespace": "infra", "uid": "u-1"}
    made["spec"] |= spec
    return made


def parameters(**spec: Any) -> manifest.Manifest:
    meta = {"name": "big", "namespace": "infra"}
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": meta,
        "spec": spec,
    }


REF = {"group": "headgate.dev", "kind": "GatewayParameters", "name": "big"}


def update(*objects: manifest.Manifest) -> Update:
    half = GatewayHalf(GatewaySettings(per_gateway=True), follow_results=True, provision=TOLD)
    decoded = manifest.decoded(*objects)
    follow(half.world, decoded)
    return half.refresh(0.0)


def made(*objects: manifest.Manifest) -> dict[str, Any]:
    (found,) = update(*objects).provisioned.values()
    assert isinstance(found, Wanted)
    return {each["kind"]: each for each in found.objects}


def test_an_envoy_with_its_bootstrap_behind_a_service_owned_by_the_gateway() -> None:
    found = made(gateway())
    assert set(found) == {"ServiceAccount", "ConfigMap", "Deployment", "Service"}
    for each in found.values():
        assert each["metadata"]["name"] == "gate-headgate" and each["metadata"]["namespace"] == "infra"
        assert each["metadata"]["ownerReferences"][0]["uid"] == "u-1"
    assert found["Service"]["spec"]["ports"] == [
        {"name": "port-80", "port": 80, "targetPort": 80, "protocol": "TCP"}
    ]
    assert found["Service"]["spec"]["type"] == "LoadBalancer"
    bootstrap = json.loads(found["ConfigMap"]["data"]["envoy.json"])
    assert bootstrap["node"]["id"] == "infra/gate"
    (pod,) = [found["Deployment"]["spec"]["template"]]
    assert found["Service"]["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["containers"][0]["image"] == "envoy:1"


def test_parameters_and_infrastructure_override_what_they_may() -> None:
    found = made(
        gateway(
            infrastructure={
                "labels": {"team": "a", "headgate.dev/gateway": "x"},
                "annotations": {"note": "n"},
                "parametersRef": REF,
            }
        ),
        parameters(
            replicas=3,
            envoy={
                "image": "mirror/envoy:2",
                "extraArgs": ["--cpuset-threads"],
                "resources": {"limits": {"cpu": "2"}},
            },
            pod={"nodeSelector": {"pool": "edge"}, "drainSeconds": 5},
            service={"type": "NodePort", "annotations": {"cloud": "c"}, "externalTrafficPolicy": "Local"},
            minAvailable=2,
        ),
    )
    deployment = found["Deployment"]["spec"]
    container = deployment["template"]["spec"]["containers"][0]
    assert deployment["replicas"] == 3 and container["image"] == "mirror/envoy:2"
    assert container["args"][-1] == "--cpuset-threads" and container["resources"] == {"limits": {"cpu": "2"}}
    assert deployment["template"]["spec"]["nodeSelector"] == {"pool": "edge"}
    assert deployment["template"]["spec"]["terminationGracePeriodSeconds"] > 5
    labels = found["Service"]["metadata"]["labels"]
    assert labels["team"] == "a" and "headgate.dev/gateway" not in labels
    assert deployment["selector"]["matchLabels"]["headgate.dev/gateway"] != "x"
    assert found["Service"]["metadata"]["annotations"] == {"note": "n", "cloud": "c"}
    assert found["Service"]["spec"]["externalTrafficPolicy"] == "Local"
    assert found["PodDisruptionBudget"]["spec"]["minAvailable"] == 2


def test_an_autoscaler_takes_the_number_of_replicas_over() -> None:
    found = made(gateway(infrastructure={"parametersRef": REF}), parameters(autoscaling={"maxReplicas": 5}))
    assert "replicas" not in found["Deployment"]["spec"]
    assert found["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] == 5


@pytest.mark.parametrize(
    ("ref", "said"),
    [(REF, "no GatewayParameters infra/big"), ({**REF, "kind": "Other"}, "use GatewayParameters")],
)
def test_parameters_that_cannot_be_used_are_named(ref: Any, said: str) -> None:
    (found,) = update(gateway(infrastructure={"parametersRef": ref})).provisioned.values()
    assert isinstance(found, str) and said in found


def test_who_cannot_read_the_objects_cannot_drain_the_gateway() -> None:
    found = made(gateway())
    pod = found["Deployment"]["spec"]["template"]["spec"]
    path = pod["containers"][0]["lifecycle"]["preStop"]["httpGet"]["path"]
    assert len(path) > 32 and path in found["ConfigMap"]["data"]["envoy.json"]


def test_names_and_labels_fit_whatever_the_gateway_is_called() -> None:
    for name in ("gate", "a.b", "9lives", "x" * 200):
        decoded = manifest.decoded(gateway(name)).objects[0]
        assert isinstance(decoded, Gateway)
        found = name_of(decoded)
        assert len(f"{found}-xds") <= MAX_NAME and found[0].isalpha() and "." not in found
        assert all(len(value) <= MAX_NAME for value in labels_of(decoded).values())


def test_a_foreign_gateway_gets_nothing_and_one_that_goes_is_told() -> None:
    foreign = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "GatewayClass",
        "metadata": {"name": "headgate"},
        "spec": {"controllerName": "example.com/other"},
    }
    assert update(gateway(), foreign).provisioned == {}
    half = GatewayHalf(GatewaySettings(per_gateway=True), follow_results=True, provision=TOLD)
    follow(half.world, manifest.decoded(gateway()))
    half.refresh(0.0)
    follow(half.world, manifest.decoded())
    assert list(half.refresh(1.0).provisioned.values()) == [None]
