"""A cluster on which Headgate is installed, for tests that run within its network (see `make lab`)."""

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import aiohttp
import yaml
from tests.manifests import Manifest

SYSTEM = "headgate-system"
ECHO = "gcr.io/k8s-staging-gateway-api/echo-basic:lab"
LWEPP = "registry.k8s.io/gateway-api-inference-extension/lwepp:v1.6.0"
PICKER = "ghcr.io/headgate/headgate-picker:lab"
PATIENCE_S = 60.0
DESTINATION = "test-epp-endpoint-selection"


def kubectl(*args: str, text: str | None = None, check: bool = True) -> str:
    """What kubectl says. Raises AssertionError with what it complains of."""
    done = subprocess.run(["kubectl", *args], input=text, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"kubectl {' '.join(args)}: {done.stderr}"
    return done.stdout


def apply(namespace: str, *objects: Manifest) -> None:
    """Make these be there; those without a namespace are of *namespace*."""
    text = yaml.safe_dump_all(objects)
    kubectl("apply", "-n", namespace, "-f", "-", text=text)


def get(kind: str, namespace: str, name: str) -> dict[str, Any]:
    """An object; empty: there is none."""
    text = kubectl("-n", namespace, "get", kind, name, "-o", "json", "--ignore-not-found")
    found = json.loads(text) if text.strip() else {}
    assert isinstance(found, dict)
    return found


def listed(kind: str, namespace: str, **labels: str) -> list[dict[str, Any]]:
    """Objects with these labels."""
    wanted = ",".join(f"{key}={value}" for key, value in labels.items())
    found = json.loads(kubectl("-n", namespace, "get", kind, "-l", wanted, "-o", "json"))["items"]
    assert isinstance(found, list)
    return found


def until(what: str, reached: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait for *reached* to be true, and return what it gave."""
    end = time.monotonic() + patience_s
    while not (found := reached()):
        assert time.monotonic() < end, f"in vain: {what}"
        time.sleep(0.2)
    return found


def until_unheld(gateway_class: str) -> None:
    """Wait until no Gateway keeps the class: one that is deleted with its controller would stay for ever."""

    def held() -> list[str]:
        found = get("gatewayclass", "", gateway_class)
        return list(found["metadata"].get("finalizers", [])) if found else []

    until(f"every Gateway of the class {gateway_class} to go", lambda: not held(), 180.0)


@contextlib.contextmanager
def namespace(name: str) -> Iterator[str]:
    """A namespace for a test, gone afterwards, once what drains in it has ended."""
    kubectl("wait", "--for=delete", f"namespace/{name}", "--timeout=120s", check=False)
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--wait=false", check=False)


def deployment(name: str, image: str, port: int, replicas: int = 1, **container: Any) -> Manifest:
    """Pods with the label `app: name`, ready when *port* answers."""
    env = [
        {"name": key, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for key, path in (
            ("POD_NAME", "metadata.name"),
            ("NAMESPACE", "metadata.namespace"),
            ("POD_IP", "status.podIP"),
        )
    ]
    made = {
        "name": "main",
        "image": image,
        "env": env,
        "readinessProbe": {"tcpSocket": {"port": port}, "periodSeconds": 1},
        **container,
    }
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"terminationGracePeriodSeconds": 5, "containers": [made]},
            },
        },
    }


def echo(name: str, replicas: int = 2) -> Manifest:
    """Servers that answer with what they were asked, and who they are."""
    return deployment(name, ECHO, 3000, replicas)


READER = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "picker"},
    "rules": [
        {"apiGroups": ["inference.networking.k8s.io"], "resources": ["inferencepools"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
    ],
}
BOUND = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "picker"},
    "subjects": [{"kind": "ServiceAccount", "name": "default"}],
    "roleRef": {"kind": "Role", "name": "picker", "apiGroup": "rbac.authorization.k8s.io"},
}


def pool_with_picker(
    namespace: str, name: str, image: str, mode: str = "FailClose", *args: str, **annotations: str
) -> list[Manifest]:
    """An InferencePool over `echo(name)`, and a picker of its own, `NAME-picker`."""
    picker = f"{name}-picker"
    given = [*args, "--pool-name", name, "--pool-namespace", namespace]
    given += ["--grpc-port", "9002", "--grpc-health-port", "9003"]
    return [
        {
            "apiVersion": "inference.networking.k8s.io/v1",
            "kind": "InferencePool",
            "metadata": {"name": name, "annotations": annotations},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "targetPorts": [{"number": 3000}],
                "endpointPickerRef": {"name": picker, "port": {"number": 9002}, "failureMode": mode},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": picker},
            "spec": {"selector": {"app": picker}, "ports": [{"port": 9002}]},
        },
        deployment(picker, image, 9002, args=given),
    ]


def gateway(name: str, **spec: Any) -> Manifest:
    """A Gateway of ours with port 80."""
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": name},
        "spec": {
            "gatewayClassName": "headgate",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
            **spec,
        },
    }


def route(name: str, gateway: str, pools: Mapping[str, int], path: str = "/") -> Manifest:
    """A route to pools, each with its weight."""
    refs = [
        {"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": each, "weight": weight}
        for each, weight in pools.items()
    ]
    matches = [{"path": {"type": "PathPrefix", "value": path}}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": [{"name": gateway}], "rules": [{"matches": matches, "backendRefs": refs}]},
    }


def available(namespace: str) -> None:
    """Wait until every Deployment there is."""
    kubectl("-n", namespace, "wait", "--for=condition=Available", "deployment", "--all", "--timeout=90s")


def address(namespace: str, name: str) -> str:
    """Where a Gateway is reached, once it is programmed."""
    kubectl("-n", namespace, "wait", "--for=condition=Programmed", f"gateway/{name}", "--timeout=60s")
    return str(get("gateway", namespace, name)["status"]["addresses"][0]["value"])


class Answer:
    """What a request met."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def pod(self) -> str:
        """Who answered; empty: no echo server."""
        found = json.loads(self.body) if self.status == 200 else {}
        return str(found.get("pod", ""))


async def ask(http: aiohttp.ClientSession, url: str, **headers: str) -> Answer:
    """One completion asked for; status 0: nobody answered."""
    body = {"model": "m", "prompt": "hello"}
    try:
        async with http.post(url, json=body, headers=headers) as answer:
            return Answer(answer.status, dict(answer.headers), await answer.read())
    except aiohttp.ClientError as error:
        return Answer(0, {}, str(error).encode())


async def ask_until(http: aiohttp.ClientSession, url: str, status: int, **headers: str) -> Answer:
    """Ask again until it is answered so."""
    import asyncio

    end = time.monotonic() + PATIENCE_S
    while True:
        found = await ask(http, url, **headers)
        if found.status == status:
            return found
        assert time.monotonic() < end, f"{found.status} in place of {status}: {found.body[:500]!r}"
        await asyncio.sleep(0.2)
