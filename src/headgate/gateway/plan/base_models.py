"""Base models of names that clients use, from the ConfigMaps that body-based routers read.

A ConfigMap with one of the two labels says `baseModel: NAME` and `adapters:`, a YAML list in a text. Source:
body-based routing of GIE 1.3 and of llm-d's payload processor. It counts for the Gateways of its namespace.
"""

from collections.abc import Iterator, Mapping

import msgspec
import yaml

from headgate.model.meta import Identity, KubeObject
from headgate.model.objects import ConfigMap
from headgate.model.problems import Place, Problem
from headgate.model.store import Store

LABELS = ("inference.networking.k8s.io/bbr-managed", "inference.llm-d.ai/ipp-managed")
"""Either says `true`."""
MOST_ADAPTERS = 10_000
"""Of one ConfigMap."""
LONGEST_TEXT = 1 << 20
"""Characters of `adapters`: Kubernetes' own limit for a ConfigMap."""


class Read(msgspec.Struct, frozen=True):
    """What a ConfigMap says."""

    base: str
    names: frozenset[str]
    """The base's own among them."""


class Wrong(msgspec.Struct, frozen=True):
    """Why a ConfigMap is left out."""

    field: str
    message: str


def by_base_models(each: KubeObject) -> Iterator[str]:
    """Keys of the index `base_models`: the namespace of a ConfigMap that is read here."""
    if isinstance(each, ConfigMap) and any(each.metadata.labels.get(name) == "true" for name in LABELS):
        yield each.namespace


def read(world: Store, namespace: str, name: str) -> Read | Wrong:
    """What a labelled ConfigMap says, or what is wrong with it."""
    found = world.object(ConfigMap, namespace, name)
    assert found is not None
    base = found.data.get("baseModel", "").strip()
    if not base:
        return Wrong("data.baseModel", "a ConfigMap with this label names its base model here")
    text = found.data.get("adapters", "")
    if len(text) > LONGEST_TEXT or "&" in text or "*" in text:
        return Wrong("data.adapters", "this is no plain list of names")
    try:
        listed = yaml.safe_load(text) or []
    except (yaml.YAMLError, RecursionError, ValueError):
        return Wrong("data.adapters", "this is no YAML: write a list of names, as in '- one'")
    if not isinstance(listed, list) or not all(isinstance(each, str) and each for each in listed):
        return Wrong("data.adapters", "this is no list of names: write one in each line, as in '- one'")
    if len(listed) > MOST_ADAPTERS:
        return Wrong("data.adapters", f"more than {MOST_ADAPTERS} adapters")
    return Read(base, frozenset((base, *listed)))


def in_namespace(world: Store, namespace: str) -> Mapping[str, str]:
    """Name of a model → its base model. What two ConfigMaps name is the first one's, by their names."""
    found: dict[str, str] = {}
    for identity in sorted(world.indexed("base_models", namespace)):
        said = world.get(read, namespace, identity.name)
        if isinstance(said, Read):
            for name in said.names:
                found.setdefault(name, said.base)
    return found


def problems_of(world: Store, found: ConfigMap) -> Iterator[Problem]:
    """What is wrong with a labelled ConfigMap, and names that an earlier one gives to another base."""
    if found.identity not in world.indexed("base_models", found.namespace):
        return
    said = world.get(read, found.namespace, found.name)
    if isinstance(said, Wrong):
        yield _problem(found.identity, said.field, f"{said.message}; it is left out")
        return
    known = world.get(in_namespace, found.namespace)
    others = sorted(name for name in said.names if known[name] != said.base)
    if others:
        message = f"{others[0][:100]} belongs to base model {known[others[0]][:100]} by another ConfigMap"
        more = f", and {len(others) - 1} more do" if len(others) > 1 else ""
        yield _problem(found.identity, "data.adapters", f"{message}{more}; the other one counts")


def _problem(identity: Identity, field: str, message: str) -> Problem:
    return Problem(Place(object=str(identity), field=field), "InvalidValue", message)
