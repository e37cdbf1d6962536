"""A Gateway that comes to have an autoscaler keeps its Envoys, and their number is the autoscaler's from then on."""

from tests.lab import cluster as lab
from tests.manifests import Manifest

NAME = "scaled-headgate"


def parameters(**spec: object) -> Manifest:
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "GatewayParameters",
        "metadata": {"name": "few"},
        "spec": spec,
    }


def replicas(namespace: str) -> int:
    return int(lab.get("deployment", namespace, NAME)["spec"]["replicas"])


def reread(namespace: str, label: str) -> None:
    """Let the controller apply everything once more, and wait until it has."""
    lab.kubectl("-n", namespace, "patch", "gateway", "scaled", "--type=merge", "-p", label_patch(label))
    lab.until(
        "applied again",
        lambda: lab.get("deployment", namespace, NAME)["metadata"]["labels"].get("again") == label,
    )


def label_patch(label: str) -> str:
    return f'{{"spec": {{"infrastructure": {{"labels": {{"again": "{label}"}}}}}}}}'


def test_an_autoscaler_takes_the_number_over_and_gives_it_back() -> None:
    with lab.namespace("lab-scaled") as namespace:
        ref = {"group": "headgate.dev", "kind": "GatewayParameters", "name": "few"}
        lab.apply(namespace, parameters(replicas=3))
        lab.apply(namespace, lab.gateway("scaled", infrastructure={"parametersRef": ref}))
        lab.until("three Envoys", lambda: lab.get("deployment", namespace, NAME) and replicas(namespace) == 3)
        lab.apply(namespace, parameters(replicas=3, autoscaling={"minReplicas": 2, "maxReplicas": 5}))
        lab.until("an autoscaler", lambda: lab.get("horizontalpodautoscaler", namespace, NAME))
        reread(namespace, "one")
        assert replicas(namespace) == 3
        lab.kubectl("-n", namespace, "scale", f"deployment/{NAME}", "--replicas=4")
        reread(namespace, "two")
        assert replicas(namespace) == 4, "what the autoscaler says is left alone"
        lab.apply(namespace, parameters(replicas=2))
        lab.until("two Envoys", lambda: replicas(namespace) == 2)
        lab.until("no autoscaler", lambda: not lab.get("horizontalpodautoscaler", namespace, NAME))
