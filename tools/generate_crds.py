"""Writes the CRDs of our own kinds into the Helm chart, from the structs that read them; `--check` compares.

The structs are what decides; the CRDs say the same to the API server: types, limits, required fields. Those
of InferenceModel and InferenceObjective are there too: the Inference Extension has given them up.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from headgate.model.meta import HEADGATE_GROUP, KubeObject
from headgate.model.objects import (
    AccessPolicy,
    BackendAuthPolicy,
    FlowPolicy,
    GatewayParameters,
    InferenceModel,
    InferenceObjective,
    ModelServer,
)

FOLDER = Path(__file__).parents[1] / "deploy" / "helm" / "headgate" / "files" / "crds"

KINDS: tuple[tuple[type[KubeObject], str], ...] = (
    (InferenceModel, "inferencemodels"),
    (InferenceObjective, "inferenceobjectives"),
    (AccessPolicy, "accesspolicies"),
    (BackendAuthPolicy, "backendauthpolicies"),
    (FlowPolicy, "flowpolicies"),
    (GatewayParameters, "gatewayparameters"),
    (ModelServer, "modelservers"),
)

_KEPT = (
    *("type", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
    *("minProperties", "maxProperties"),
)

CONDITIONS = {
    "type": "array",
    "maxItems": 8,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
    "items": {
        "type": "object",
        "required": ["type", "status", "reason", "message", "lastTransitionTime"],
        "properties": {
            "type": {"type": "string", "maxLength": 316},
            "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
            "reason": {"type": "string", "maxLength": 1024},
            "message": {"type": "string", "maxLength": 32768},
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": {"type": "string", "format": "date-time"},
        },
    },
}


def crd(cls: type[KubeObject], plural: str) -> Mapping[str, Any]:
    """The CustomResourceDefinition of a kind."""
    spec_type = next(each.type for each in msgspec.structs.fields(cls) if each.name == "spec")
    (schema,), known = msgspec.json.schema_components([spec_type], ref_template="{name}")
    whole = {
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(schema, known),
            "status": {"type": "object", "properties": {"conditions": CONDITIONS}},
        },
    }
    if any(each.name == "spec" and each.required for each in msgspec.structs.fields(cls)):
        whole["required"] = ["spec"]
    version: dict[str, Any] = {
        "name": "v1alpha1" if cls.GROUP == HEADGATE_GROUP else "v1alpha2",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": whole},
        "subresources": {"status": {}},
        "additionalPrinterColumns": [
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}
        ],
    }
    kind = cls.KIND
    names = {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": kind.lower()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{cls.GROUP}",
            "annotations": {"helm.sh/resource-policy": "keep"},
            "labels": {"app.kubernetes.io/name": "headgate"},
        },
        "spec": {"group": cls.GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def structural(schema: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON schema in Kubernetes' form: without references, every node with its type."""
    if "$ref" in schema:
        beside = {key: schema[key] for key in schema if key != "$ref"}
        return structural({**known[schema["$ref"]], **beside}, known)
    if "anyOf" in schema:
        present = [each for each in schema["anyOf"] if each.get("type") != "null"]
        return structural({**present[0], **{key: schema[key] for key in schema if key != "anyOf"}}, known)
    made = {key: schema[key] for key in _KEPT if key in schema}
    if "pattern" in made:
        made["pattern"] = made["pattern"].replace("\\Z", "$")
    if "enum" in made and "type" not in made:
        made["type"] = "string"
    if isinstance(made.get("enum"), list):
        made["enum"] = sorted(made["enum"])
    if "properties" in schema:
        made["properties"] = {name: structural(each, known) for name, each in schema["properties"].items()}
        if schema.get("required"):
            made["required"] = sorted(schema["required"])
    elif made.get("type") == "object":
        values = schema.get("additionalProperties")
        if isinstance(values, Mapping) and values:
            made["additionalProperties"] = structural(values, known)
        else:
            made["x-kubernetes-preserve-unknown-fields"] = True
    elif made.get("type") == "array":
        made["items"] = structural(schema.get("items", {}), known)
    elif "type" not in made:
        made["x-kubernetes-preserve-unknown-fields"] = True
    return made


def main() -> int:
    """Write, or compare."""
    stale = []
    for cls, plural in KINDS:
        path = FOLDER / f"{plural}.yaml"
        text = yaml.safe_dump(crd(cls, plural), sort_keys=False, width=120)
        if "--check" in sys.argv:
            if not path.exists() or path.read_text() != text:
                stale.append(str(path))
        else:
            path.write_text(text)
    for each in stale:
        print(f"{each} is not what tools/generate_crds.py makes: run it")
    return bool(stale)


if __name__ == "__main__":
    sys.exit(main())
