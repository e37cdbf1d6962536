"""The tracker's law over the gateway half: whatever happened to its objects, what is served, what is wrong,
what became of each object and what Gateways are to be run by is the same as from scratch."""

import functools
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.live.harness.certificates import Authority

from headgate.gateway import resources
from headgate.gateway.half import GatewayHalf, Update
from headgate.gateway.plan.classes import Dataplane, dataplanes
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.translate import translate
from headgate.gateway.xds.linger import LINGER_S
from headgate.gateway.xds.versions import Kind
from headgate.manifests.decode import decode
from headgate.model.meta import Identity
from headgate.model.objects import Object
from headgate.model.snapshot import Snapshot, difference, take

Dice = random.Random
Manifest = dict[str, Any]

LEAST_STEPS, MOST_STEPS = 70, 100
EXAMPLES = 150
"""At least 10,500 steps together."""

SPACES = ("a", "b")
GROUP = "gateway.networking.k8s.io"
IMPORT_GROUP = "inference.networking.x-k8s.io"
HOSTS: tuple[str | None, ...] = (None, "x.example", "*.example", "y.x.example")


@functools.cache
def pairs() -> tuple[dict[str, str], ...]:
    """Contents of TLS Secrets: two that are right, one that is not."""
    authority = Authority()
    found = [authority.sign(name) for name in ("x.example", "*.example")]
    good = [{"tls.crt": each.chain.decode(), "tls.key": each.key.decode()} for each in found]
    return (
        *good,
        {"tls.crt": "none", "tls.key": "none"},
        {"ca.crt": authority.pem.decode(), "alice": "sk-a"},
    )


def written(api: str, kind: str, namespace: str, name: str, dice: Dice, **content: Any) -> Manifest:
    metadata: Manifest = {"name": name, "namespace": namespace}
    created = dice.choice([None, None, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"])
    if created:
        metadata["creationTimestamp"] = created
    metadata |= content.pop("metadata", {})
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def listener(number: int, dice: Dice) -> Manifest:
    found: Manifest = {"name": f"l{number}", "port": dice.choice([80, 443]), "protocol": "HTTP"}
    if found["port"] == 443:
        found |= {"protocol": "HTTPS", "tls": {"certificateRefs": [{"name": dice.choice(["n0", "n1"])}]}}
    if dice.random() < 0.1:
        found["protocol"] = "TCP"
    if (host := dice.choice(HOSTS)) is not None:
        found["hostname"] = host
    found["allowedRoutes"] = {"namespaces": {"from": dice.choice(["All", "Same", "None"])}}
    return found


def gateway(namespace: str, name: str, dice: Dice) -> Manifest:
    spec: Manifest = {"gatewayClassName": dice.choice(["headgate", "headgate", "other"])}
    spec["listeners"] = [listener(each, dice) for each in range(dice.randrange(1, 3))]
    spec["allowedListeners"] = {"namespaces": {"from": dice.choice(["All", "Same", "None"])}}
    if dice.random() < 0.5:
        spec["infrastructure"] = {"parametersRef": parameters_ref(dice)}
    return written(f"{GROUP}/v1", "Gateway", namespace, name, dice, spec=spec)


def gateway_class(namespace: str, name: str, dice: Dice) -> Manifest:
    ours, others = "headgate.dev/gateway-controller", "example.com/other"
    spec: Manifest = {"controllerName": dice.choice([ours, ours, ours, others])}
    if dice.random() < 0.5:
        spec["parametersRef"] = parameters_ref(dice) | {"namespace": dice.choice(SPACES)}
    metadata = {"name": dice.choice(["other", "headgate", "headgate"])}
    return {"apiVersion": f"{GROUP}/v1", "kind": "GatewayClass", "metadata": metadata, "spec": spec}


def parameters_ref(dice: Dice) -> Manifest:
    kind = dice.choice([*["GatewayParameters"] * 5, "ConfigMap"])
    return {"group": "headgate.dev", "kind": kind, "name": dice.choice(["n0", "n1"])}


def gateway_parameters(namespace: str, name: str, dice: Dice) -> Manifest:
    spec: Manifest = {"replicas": dice.randrange(1, 4), "envoy": {"concurrency": dice.randrange(1, 3)}}
    if dice.random() < 0.3:
        spec["autoscaling"] = {"maxReplicas": dice.randrange(3, 6)}
    return written("headgate.dev/v1alpha1", "GatewayParameters", namespace, name, dice, spec=spec)


def listener_set(namespace: str, name: str, dice: Dice) -> Manifest:
    spec = {
        "parentRef": {"name": dice.choice(["n0", "n1"]), "namespace": dice.choice(SPACES)},
        "listeners": [listener(7, dice)],
    }
    return written(f"{GROUP}/v1", "ListenerSet", namespace, name, dice, spec=spec)


def backend(dice: Dice) -> Manifest:
    found: Manifest = {"name": dice.choice(["n0", "n1"]), "weight": dice.choice([0, 1, 2])}
    if (of := dice.random()) < 0.4:
        group = dice.choice(["inference.networking.k8s.io", "inference.networking.k8s.io", IMPORT_GROUP])
        found |= {"group": group, "kind": "InferencePool"}
    elif of < 0.5:
        found |= {"group": IMPORT_GROUP, "kind": "InferencePoolImport"}
    else:
        found["port"] = dice.choice([80, 81])
    if dice.random() < 0.4:
        found["namespace"] = dice.choice(SPACES)
    return found


def http_route(namespace: str, name: str, dice: Dice) -> Manifest:
    rules: list[Manifest] = []
    for _ in range(dice.randrange(1, 3)):
        match: Manifest = {"path": {"value": dice.choice(["/", "/v1"])}}
        if dice.random() < 0.3:
            names = ["X-Gateway-Model-Name", "X-Gateway-Base-Model-Name", "x"]
            match["headers"] = [{"name": dice.choice(names), "value": dice.choice(["m", "base"])}]
        mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "n0", "port": 80}}}
        cors = {"type": "CORS", "cors": {"allowOrigins": ["*"]}}
        unknown = {"type": "ExtensionRef"}
        rules.append(
            {
                "name": f"r{len(rules)}",
                "matches": [match],
                "backendRefs": [backend(dice) for _ in range(dice.randrange(3))],
                "filters": dice.choice([[], [], [mirror], [cors], [unknown]]),
            }
        )
    return written(f"{GROUP}/v1", "HTTPRoute", namespace, name, dice, spec=route_spec(dice, rules))


def grpc_route(namespace: str, name: str, dice: Dice) -> Manifest:
    method = {"service": "s", "method": dice.choice(["one", "two"])}
    rules = [{"matches": [{"method": method}], "backendRefs": [{"name": "n0", "port": 80}]}]
    return written(f"{GROUP}/v1", "GRPCRoute", namespace, name, dice, spec=route_spec(dice, rules))


def route_spec(dice: Dice, rules: list[Manifest]) -> Manifest:
    parent: Manifest = {"name": dice.choice(["n0", "n1"]), "namespace": dice.choice(SPACES)}
    if dice.random() < 0.3:
        parent["sectionName"] = dice.choice(["l0", "l1", "l7"])
    if dice.random() < 0.2:
        parent["kind"] = "ListenerSet"
    hosts = [each for each in HOSTS if each is not None and dice.random() < 0.3]
    return {"parentRefs": [parent], "hostnames": hosts, "rules": rules}


def grant(namespace: str, name: str, dice: Dice) -> Manifest:
    kinds = [("", "Service"), ("", "Secret"), ("inference.networking.k8s.io", "InferencePool")]
    group, kind = dice.choice(kinds)
    source = {"group": GROUP, "kind": dice.choice(["HTTPRoute", "Gateway"]), "namespace": dice.choice(SPACES)}
    spec = {"from": [source], "to": [{"group": group, "kind": kind}]}
    return written(f"{GROUP}/v1", "ReferenceGrant", namespace, name, dice, spec=spec)


def secret(namespace: str, name: str, dice: Dice) -> Manifest:
    return written("v1", "Secret", namespace, name, dice, stringData=dice.choice(pairs()))


def config_map(namespace: str, name: str, dice: Dice) -> Manifest:
    labels = dice.choice([{}, {"inference.networking.k8s.io/bbr-managed": "true"}])
    data = dice.choice([{"ca.crt": pairs()[3]["ca.crt"]}, {"baseModel": "base", "adapters": "[m]"}, {}])
    return written("v1", "ConfigMap", namespace, name, dice, metadata={"labels": labels}, data=data)


def service(namespace: str, name: str, dice: Dice) -> Manifest:
    ports = [{"name": "one", "port": 80}, {"name": "two", "port": 81, "appProtocol": "kubernetes.io/h2c"}]
    return written("v1", "Service", namespace, name, dice, spec={"ports": ports[: dice.randrange(1, 3)]})


def endpoint_slice(namespace: str, name: str, dice: Dice) -> Manifest:
    ips = dice.sample(["10.0.0.1", "10.0.0.2", "10.0.0.3"], dice.randrange(3))
    return written(
        "discovery.k8s.io/v1",
        "EndpointSlice",
        namespace,
        name,
        dice,
        metadata={"labels": {"kubernetes.io/service-name": dice.choice(["n0", "n1"])}},
        addressType="IPv4",
        ports=[{"name": "one", "port": 8000}],
        endpoints=[{"addresses": [ip]} for ip in ips],
    )


def pool(namespace: str, name: str, dice: Dice) -> Manifest:
    spec = {
        "selector": {"matchLabels": {"app": dice.choice("xy")}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": dice.choice(["n0", "n1", "headgate-picker"]), "port": {"number": 80}},
    }
    notes = {}
    if dice.random() < 0.4:
        notes[f"{IMPORT_GROUP}/export"] = "ClusterSet"
    if dice.random() < 0.4:
        notes["headgate.dev/fallback"] = dice.choice(["InferencePool/n0", "ModelServer/n1", "Service/n0:80"])
    api, metadata = "inference.networking.k8s.io/v1", {"annotations": notes}
    return written(api, "InferencePool", namespace, name, dice, metadata=metadata, spec=spec)


def old_pool(namespace: str, name: str, dice: Dice) -> Manifest:
    spec = {
        "selector": {"app": dice.choice("xy")},
        "targetPortNumber": dice.choice([8000, 8001]),
        "extensionRef": {"name": dice.choice(["n0", "n1", "headgate-picker"])},
    }
    return written(f"{IMPORT_GROUP}/v1alpha2", "InferencePool", namespace, name, dice, spec=spec)


def pool_import(namespace: str, name: str, dice: Dice) -> Manifest:
    clusters = [{"name": each} for each in ("east", "west") if dice.random() < 0.5]
    status = {"controllers": [{"name": "example.com/hub", "exportingClusters": clusters}]}
    return written(f"{IMPORT_GROUP}/v1alpha1", "InferencePoolImport", namespace, name, dice, status=status)


def model_server(namespace: str, name: str, dice: Dice) -> Manifest:
    url = dice.choice(["http://10.1.0.1:80", "https://10.1.0.2", "http://10.1.0.3:8000"])
    labels = {"labels": {"app": dice.choice("xy")}}
    return written(
        "headgate.dev/v1alpha1", "ModelServer", namespace, name, dice, metadata=labels, spec={"url": url}
    )


def backend_tls(namespace: str, name: str, dice: Dice) -> Manifest:
    target = {"group": "", "kind": "Service", "name": dice.choice(["n0", "n1"])}
    validation = {
        "hostname": "x.example",
        "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "n0"}],
    }
    return written(
        f"{GROUP}/v1",
        "BackendTLSPolicy",
        namespace,
        name,
        dice,
        spec={"targetRefs": [target], "validation": validation},
    )


def access_policy(namespace: str, name: str, dice: Dice) -> Manifest:
    target = {"kind": dice.choice(["Gateway", "HTTPRoute"]), "name": dice.choice(["n0", "n1"])}
    spec = {"targetRefs": [target], "apiKeys": {"secretRefs": [{"name": dice.choice(["n0", "n1"])}]}}
    return written("headgate.dev/v1alpha1", "AccessPolicy", namespace, name, dice, spec=spec)


def flow_policy(namespace: str, name: str, dice: Dice) -> Manifest:
    kinds = ["InferencePool", "HTTPRoute", "HTTPRoute", "GRPCRoute", "Gateway", "ListenerSet"]
    targets = []
    for _ in range(dice.randrange(1, 3)):
        target = {"kind": dice.choice(kinds), "name": dice.choice(["n0", "n1"])}
        if target["kind"] == "InferencePool" and dice.random() < 0.3:
            target["group"] = IMPORT_GROUP
        if target["kind"] != "InferencePool" and dice.random() < 0.3:
            target["sectionName"] = dice.choice(["l0", "l1", "l7", "r0", "r1"])
        targets.append(target)
    spec = {"targetRefs": targets, "requests": {"fairnessId": dice.choice(["one", "two"])}}
    if dice.random() < 0.3:
        spec |= {"flows": [{"id": "one", "weight": dice.randrange(1, 3)}], "trustHeaders": ["fairness"]}
    return written("headgate.dev/v1alpha1", "FlowPolicy", namespace, name, dice, spec=spec)


def backend_auth(namespace: str, name: str, dice: Dice) -> Manifest:
    target = {"kind": dice.choice(["Service", "InferencePool"]), "name": dice.choice(["n0", "n1"])}
    spec = {"targetRefs": [target], "secretRef": {"name": "n0", "key": "alice"}}
    return written("headgate.dev/v1alpha1", "BackendAuthPolicy", namespace, name, dice, spec=spec)


def pod(namespace: str, name: str, dice: Dice) -> Manifest:
    ready = [{"type": "Ready", "status": dice.choice(["True", "True", "False"])}]
    status = {"podIP": f"10.4.0.{dice.randrange(4)}", "phase": "Running", "conditions": ready}
    labels = {"app": dice.choice(["x", "y"])}
    return written("v1", "Pod", namespace, name, dice, metadata={"labels": labels}, status=status)


def space(namespace: str, name: str, dice: Dice) -> Manifest:
    labels = {"team": dice.choice(["x", "y"])}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}


def inference_model(namespace: str, name: str, dice: Dice) -> Manifest:
    pool_ref = {"name": dice.choice(["n0", "n1"])}
    spec = {"modelName": name, "poolRef": pool_ref, "criticality": dice.choice(["Critical", "Sheddable"])}
    return written(
        "inference.networking.x-k8s.io/v1alpha2", "InferenceModel", namespace, name, dice, spec=spec
    )


def objective(namespace: str, name: str, dice: Dice) -> Manifest:
    spec = {"priority": dice.randrange(3), "poolRef": {"name": dice.choice(["n0", "n1"])}}
    api = "inference.networking.x-k8s.io/v1alpha2"
    return written(api, "InferenceObjective", namespace, name, dice, spec=spec)


MAKERS = (
    pod,
    pod,
    space,
    inference_model,
    objective,
    gateway,
    gateway,
    gateway_class,
    gateway_class,
    gateway_parameters,
    gateway_parameters,
    listener_set,
    http_route,
    http_route,
    http_route,
    grpc_route,
    grant,
    secret,
    config_map,
    service,
    endpoint_slice,
    pool,
    old_pool,
    pool_import,
    model_server,
    backend_tls,
    access_policy,
    flow_policy,
    flow_policy,
    backend_auth,
)


@functools.cache
def variant(maker: int, namespace: str, name: str, number: int) -> Object:
    """One of a few forms of an object, so that equal ones come again."""
    dice = random.Random(f"{maker} {namespace} {name} {number}")
    while True:  # a draw that contradicts itself (two listeners of one port and host) is drawn again
        found = decode(MAKERS[maker](namespace, name, dice), "file.yaml", lambda _: 1)
        if found.object is not None:
            return found.object


STORY = st.lists(
    st.tuples(
        st.integers(0, len(MAKERS) - 1),
        st.sampled_from(SPACES),
        st.sampled_from(("n0", "n1")),
        st.integers(-3, 9),
    ),
    min_size=LEAST_STEPS,
    max_size=MOST_STEPS,
)
"""Kind, namespace, name and form of what appears or changes; below 0: what goes."""


def served(half: GatewayHalf) -> Mapping[str, Any]:
    """Every resource as JSON, by its key."""
    world = half.world
    keys = sorted(key for each in world.get(dataplanes) for key in world.get(resources.keys, each))
    return {str(key[1:]): world.get(resources.as_json, key) for key in keys}


Published = dict[tuple[Dataplane, Kind, str], str]
"""Version of each resource that Envoys were sent."""


def took(published: Published, provisioned: dict[Identity, Any], update: Update) -> None:
    """Apply what was new."""
    for dataplane, changes in update.changes.items():
        for kind, name in changes.removed:
            published.pop((dataplane, kind, name), None)
        published.update({(dataplane, each.kind, each.name): each.version for each in changes.changed})
    provisioned.update(update.provisioned)


@pytest.mark.timeout(400)
@settings(max_examples=EXAMPLES, deadline=None)
@given(STORY, st.booleans())
def test_what_is_served_and_said_is_the_same_as_from_scratch(
    story: list[tuple[int, str, str, int]], per_gateway: bool
) -> None:
    told = GatewaySettings(per_gateway=per_gateway)
    provision = ProvisionSettings(xds_host="xds.example") if per_gateway else None
    half = GatewayHalf(told, provision=provision)
    before = Snapshot(())
    objects: dict[Any, Object] = {}
    published: Published = {}
    provisioned: dict[Identity, Any] = {}
    for step, (maker, namespace, name, number) in enumerate(story):
        found = variant(maker, namespace, name, max(number, 0))
        if number < 0:
            objects.pop(found.identity, None)
        else:
            objects[found.identity] = found
        snapshot = Snapshot(tuple(objects.values()))
        take(half.world, difference(before, snapshot))
        took(published, provisioned, half.refresh(float(step)))
        before = snapshot
    took(published, provisioned, half.refresh(float(len(story)) + 2 * LINGER_S))
    assert half.due is None
    anew = GatewayHalf(told, provision=provision)
    take(anew.world, difference(Snapshot(()), before))
    at_once: Published = {}
    wanted: dict[Identity, Any] = {}
    took(at_once, wanted, anew.refresh(0.0))
    assert published == at_once
    assert {each: found for each, found in provisioned.items() if found is not None} == wanted
    assert half.results() == anew.results()
    assert half.problems == anew.problems
    if not per_gateway:
        scratch = translate(before, told, with_secrets=True)
        expected = {
            str((kind, name)): each for kind, some in scratch.resources.items() for name, each in some.items()
        }
        assert served(half) == expected
        assert half.results() == scratch.results
        assert half.problems == scratch.problems
