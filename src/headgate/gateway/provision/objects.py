"""A Gateway → the objects that run its Envoy, as they are to be applied."""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from headgate.gateway.envoy import mutual_tls
from headgate.gateway.envoy.bootstrap import ARGUMENTS
from headgate.gateway.provision import addresses, bootstrap
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.model.meta import GATEWAY_GROUP
from headgate.model.objects import Gateway, GatewayParametersSpec

Json = Mapping[str, Any]

GATEWAY_LABEL = "gateway.networking.k8s.io/gateway-name"
CLASS_LABEL = "gateway.networking.k8s.io/gateway-class-name"
MANAGED_LABEL = "app.kubernetes.io/managed-by"
MANAGED = "headgate"

OWN_LABELS = ("app.kubernetes.io/", "gateway.networking.k8s.io/", "headgate.dev/")
"""Beginnings of labels that the Gateway's own infrastructure labels and parameters cannot set."""

MAX_NAME = 63

NOBODY = 65532
"""User and group of Envoy."""


class Wanted(msgspec.Struct, frozen=True):
    """What a Gateway is to be run by."""

    name: str
    """Of every object."""
    certificate: str
    """Name of the Secret with the certificate of its Envoy, which is to be there, too."""
    owner: Json
    """Owner reference to the Gateway."""
    objects: tuple[Json, ...]
    asked: tuple[str, ...] = ()
    """Addresses that its Service is to have."""
    refused: addresses.Refused | None = None
    """Why it has no Service."""


def name_of(gateway: Gateway) -> str:
    """Of the objects made for a Gateway: its own and its class's, shortened where that is too long."""
    whole = f"{gateway.name}-{gateway.spec.gateway_class_name}".replace(".", "-")
    if len(whole) <= MAX_NAME - 5 and whole[0].isalpha():
        return whole
    digest = sha256(f"{gateway.name}/{gateway.spec.gateway_class_name}".encode()).hexdigest()[:8]
    return f"gw-{whole[: MAX_NAME - 20]}".rstrip("-") + f"-{digest}"


def wanted(
    gateway: Gateway, parameters: GatewayParametersSpec, ports: Sequence[int], told: ProvisionSettings
) -> Wanted:
    """*ports*: on which its listeners are reached; without any there is nothing but an idle Envoy."""
    name = name_of(gateway)
    owner = {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": "Gateway",
        "name": gateway.name,
        "uid": gateway.metadata.uid,
    }
    made = tuple(_objects(gateway, parameters, tuple(sorted(set(ports))), told, name))
    return Wanted(
        name,
        f"{name}-xds",
        owner,
        tuple({**each, "metadata": _meta(gateway, each, owner)} for each in made),
        addresses.asked(gateway),
        addresses.refused(gateway),
    )


def labels_of(gateway: Gateway) -> dict[str, str]:
    """By which its objects are found."""
    found = {
        "app.kubernetes.io/name": "headgate-envoy",
        MANAGED_LABEL: MANAGED,
        GATEWAY_LABEL: gateway.name,
        CLASS_LABEL: gateway.spec.gateway_class_name,
    }
    return {key: value for key, value in found.items() if len(value) <= MAX_NAME}


def _objects(
    gateway: Gateway,
    parameters: GatewayParametersSpec,
    ports: tuple[int, ...],
    told: ProvisionSettings,
    name: str,
) -> Iterator[dict[str, Any]]:
    config = _config(gateway, parameters, told)
    yield {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name},
        "automountServiceAccountToken": False,
    }
    yield {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": config}
    yield _deployment(gateway, parameters, told, name, config)
    if ports and addresses.refused(gateway) is None:
        yield _service(gateway, parameters, ports, name)
    if parameters.autoscaling is not None:
        yield _autoscaler(parameters, name)
    if parameters.min_available is not None:
        yield {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name},
            "spec": {
                "minAvailable": parameters.min_available,
                "selector": {"matchLabels": _selector(gateway)},
            },
        }


def _meta(gateway: Gateway, made: Json, owner: Json) -> dict[str, Any]:
    extra = gateway.spec.infrastructure
    labels = {**_foreign(extra.labels if extra is not None else {}), **labels_of(gateway)}
    annotations = {
        **(extra.annotations if extra is not None else {}),
        **made["metadata"].get("annotations", {}),
    }
    meta = {
        "name": made["metadata"]["name"],
        "namespace": gateway.namespace,
        "labels": labels,
        "ownerReferences": [owner],
    }
    return {**meta, "annotations": annotations} if annotations else meta


def _foreign(labels: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in labels.items() if not key.startswith(OWN_LABELS)}


def _selector(gateway: Gateway) -> dict[str, str]:
    """Labels of its Pods, which a Deployment can never change."""
    digest = sha256(f"{gateway.namespace}/{gateway.name}".encode()).hexdigest()[:16]
    return {"headgate.dev/gateway": digest}


def _config(gateway: Gateway, parameters: GatewayParametersSpec, told: ProvisionSettings) -> dict[str, str]:
    files: dict[str, Any] = {
        "envoy.json": bootstrap.bootstrap(
            f"{gateway.namespace}/{gateway.name}",
            told.xds_host,
            told.xds_port,
            parameters.envoy.heap_mi_b << 20,
            parameters.pod.drain_seconds,
            drain_path(gateway),
        ),
        **mutual_tls.secrets(),
    }
    return {name: msgspec.json.encode(each, order="sorted").decode() for name, each in files.items()}


def drain_path(gateway: Gateway) -> str:
    """Known to who can read the Deployment: whoever else reaches the port must not stop the gateway."""
    return f"/drain/{sha256(f'drain {gateway.metadata.uid}'.encode()).hexdigest()[:32]}"


def _deployment(
    gateway: Gateway,
    parameters: GatewayParametersSpec,
    told: ProvisionSettings,
    name: str,
    config: Mapping[str, str],
) -> dict[str, Any]:
    pod, extra = parameters.pod, gateway.spec.infrastructure
    digest = sha256("\0".join(f"{key}={config[key]}" for key in sorted(config)).encode()).hexdigest()[:16]
    labels = {
        **_foreign(extra.labels if extra is not None else {}),
        **_foreign(pod.labels),
        **labels_of(gateway),
        **_selector(gateway),
    }
    annotations = {
        **(extra.annotations if extra is not None else {}),
        **pod.annotations,
        "headgate.dev/config": digest,
    }
    optional = {
        "nodeSelector": dict(pod.node_selector),
        "tolerations": list(pod.tolerations),
        "affinity": dict(pod.affinity),
        "topologySpreadConstraints": list(pod.topology_spread_constraints),
        "priorityClassName": pod.priority_class_name,
        "imagePullSecrets": list(pod.image_pull_secrets),
    }
    spec: dict[str, Any] = {
        "serviceAccountName": name,
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": pod.drain_seconds + 30,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": NOBODY,
            "runAsGroup": NOBODY,
            "fsGroup": NOBODY,
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [_container(gateway, parameters, told)],
        "volumes": [
            {"name": "config", "configMap": {"name": name}},
            {"name": "tls", "secret": {"secretName": f"{name}-xds", "defaultMode": 0o440}},
            {"name": "run", "emptyDir": {}},
        ],
        **{key: value for key, value in optional.items() if value},
    }
    scale = {} if parameters.autoscaling is not None else {"replicas": parameters.replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            **scale,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "selector": {"matchLabels": _selector(gateway)},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec},
        },
    }


def _container(
    gateway: Gateway, parameters: GatewayParametersSpec, told: ProvisionSettings
) -> dict[str, Any]:
    envoy = parameters.envoy
    made: dict[str, Any] = {
        "name": "envoy",
        "image": envoy.image or told.image,
        "command": ["envoy"],
        "args": [
            *("-c", f"{mutual_tls.SECRETS}/envoy.json"),
            *("--concurrency", str(envoy.concurrency)),
            *("--log-level", envoy.log_level),
            *("--component-log-level", "misc:error"),
            *ARGUMENTS,
            *envoy.extra_args,
        ],
        "ports": [{"name": "metrics", "containerPort": bootstrap.READY_PORT}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": bootstrap.READY_PORT},
            "periodSeconds": 3,
            "failureThreshold": 2,
        },
        "lifecycle": {"preStop": {"httpGet": {"path": drain_path(gateway), "port": bootstrap.READY_PORT}}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "config", "mountPath": mutual_tls.SECRETS, "readOnly": True},
            {"name": "tls", "mountPath": mutual_tls.CERTIFICATES, "readOnly": True},
            {"name": "run", "mountPath": "/run/headgate"},
        ],
        "resources": dict(envoy.resources) or {"requests": {"cpu": "100m", "memory": "256Mi"}},
    }
    if envoy.image_pull_policy is not None:
        made["imagePullPolicy"] = envoy.image_pull_policy
    return made


def _service(
    gateway: Gateway, parameters: GatewayParametersSpec, ports: tuple[int, ...], name: str
) -> dict[str, Any]:
    told = parameters.service
    spec: dict[str, Any] = {
        "type": told.type,
        "selector": _selector(gateway),
        "ports": [
            {"name": f"port-{each}", "port": each, "targetPort": each, "protocol": "TCP"} for each in ports
        ],
    }
    found = addresses.asked(gateway)
    if told.type == "LoadBalancer" and found:
        spec["loadBalancerIP"] = found[0]
    if told.type == "LoadBalancer" and told.load_balancer_class:
        spec["loadBalancerClass"] = told.load_balancer_class
    if told.external_traffic_policy is not None and told.type != "ClusterIP":
        spec["externalTrafficPolicy"] = told.external_traffic_policy
    metadata: dict[str, Any] = {"name": name}
    if told.annotations:
        metadata["annotations"] = dict(told.annotations)
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _autoscaler(parameters: GatewayParametersSpec, name: str) -> dict[str, Any]:
    told = parameters.autoscaling
    assert told is not None
    target = {"type": "Utilization", "averageUtilization": told.target_cpu_percent}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": min(told.min_replicas, told.max_replicas),
            "maxReplicas": told.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }
