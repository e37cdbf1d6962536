"""Manifests for tests, as plain data, and as the YAML that users write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from headgate.manifests.decode import decode
from headgate.model.snapshot import Snapshot

Manifest = dict[str, Any]

CORE = "inference.networking.k8s.io"
ALPHA = "inference.networking.x-k8s.io/v1alpha2"

_API = {
    "Gateway": "gateway.networking.k8s.io/v1",
    "HTTPRoute": "gateway.networking.k8s.io/v1",
    "InferencePool": f"{CORE}/v1",
    "InferenceModel": ALPHA,
    "ModelServer": "headgate.dev/v1alpha1",
    "Service": "v1",
    "EndpointSlice": "discovery.k8s.io/v1",
}


def manifest(kind: str, name: str, spec: Mapping[str, Any], **metadata: Any) -> Manifest:
    """One object with a spec; *metadata* such as `labels`, `annotations` or `creationTimestamp`."""
    return {
        "apiVersion": _API[kind],
        "kind": kind,
        "metadata": {"name": name, **metadata},
        "spec": dict(spec),
    }


def gateway(name: str = "gate") -> Manifest:
    """A Gateway with one HTTP listener."""
    listener = {"name": "http", "port": 80, "protocol": "HTTP"}
    return manifest("Gateway", name, {"gatewayClassName": "headgate", "listeners": [listener]})


def route(*rules: Mapping[str, Any], name: str = "routes", parent: str = "gate") -> Manifest:
    """An HTTPRoute of the Gateway *parent*."""
    return manifest("HTTPRoute", name, {"parentRefs": [{"name": parent}], "rules": [dict(r) for r in rules]})


def rule(*pools: str | tuple[str, int], path: str | None = None, **more: Any) -> Manifest:
    """A rule from a path prefix, or everything, to pools, each by name or with a weight."""
    named = [(each, None) if isinstance(each, str) else each for each in pools]
    refs = [
        {"group": CORE, "kind": "InferencePool", "name": pool}
        | ({} if weight is None else {"weight": weight})
        for pool, weight in named
    ]
    matches = {} if path is None else {"matches": [{"path": {"type": "PathPrefix", "value": path}}]}
    return {**matches, **more, "backendRefs": refs}


def pool(name: str, mode: str = "FailClose", app: str = "") -> Manifest:
    """A pool of the model servers with label `app` (*name* when not given).

    The Service named as its picker does not exist unless `foreign_picker` adds it, so our own picker is asked.
    """
    spec = {
        "selector": {"matchLabels": {"app": app or name}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": f"{name}-epp", "port": {"number": 9002}, "failureMode": mode},
    }
    return manifest("InferencePool", name, spec)


def model_server(name: str, url: str, app: str) -> Manifest:
    """A model server by its URL (or `ip:port`), with label `app`."""
    spec = {"url": url if "://" in url else f"http://{url}"}
    return manifest("ModelServer", name, spec, labels={"app": app})


def model_servers(urls: list[str], app: str) -> list[Manifest]:
    """One for each URL."""
    return [model_server(f"{app}-{number}", url, app) for number, url in enumerate(urls)]


def model(
    name: str, pool: str, *targets: str, asked: str = "", criticality: str = "", **metadata: Any
) -> Manifest:
    """An InferenceModel; *asked* is the name clients use (*name* when not given); targets share equally."""
    spec: dict[str, Any] = {"modelName": asked or name, "poolRef": {"name": pool}}
    if targets:
        spec["targetModels"] = [{"name": each, "weight": 1} for each in targets]
    if criticality:
        spec["criticality"] = criticality
    return manifest("InferenceModel", name, spec, **metadata)


def foreign_picker(pool: str, port: int, **annotations: str) -> list[Manifest]:
    """The picker Service of a pool, with one ready address: 127.0.0.1 and *port*."""
    name = f"{pool}-epp"
    return [
        manifest("Service", name, {"ports": [{"port": 9002, "targetPort": port}]}, annotations=annotations),
        {
            "apiVersion": _API["EndpointSlice"],
            "kind": "EndpointSlice",
            "metadata": {"name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4",
            "ports": [{"port": port}],
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
        },
    ]


def text(*objects: Mapping[str, Any]) -> str:
    """The objects as one YAML file."""
    return str(yaml.safe_dump_all(objects, sort_keys=False))


def write(path: Path, *objects: Mapping[str, Any] | str) -> Path:
    """Put the objects, or raw text, in place as editors and ConfigMaps do it: never half a file."""
    part = path.with_suffix(".part")
    part.write_text("---\n".join(each if isinstance(each, str) else text(each) for each in objects))
    part.replace(path)
    return path


def snapshot(*objects: Mapping[str, Any]) -> Snapshot:
    """A snapshot of the objects, all of which must be right."""
    decoded = [decode(each, "test.yaml", lambda _: 0) for each in objects]
    assert not [str(problem) for each in decoded for problem in each.problems]
    return Snapshot(tuple(each.object for each in decoded if each.object is not None))


def decoded(*objects: Mapping[str, Any]) -> Snapshot:
    """A snapshot of the objects as one of a cluster's: without files, warnings are let pass."""
    found = [decode(each, "", lambda _: 0) for each in objects]
    assert not [str(one) for each in found for one in each.problems if one.severity == "error"]
    return Snapshot(tuple(each.object for each in found if each.object is not None))
