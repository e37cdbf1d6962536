"""Manifests for a plain machine → manifests for a cluster. Pure: what files hold comes in as arguments."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from headgate.model.meta import GATEWAY_GROUP, HEADGATE_GROUP, INFERENCE_GROUP, INFERENCE_X_GROUP
from headgate.model.problems import Place, Problem

Manifest = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

OWN_PICKER = "headgate-picker"
PICKER_PORT = 9002
CLIENTS = "headgate-clients"
"""Name of the Secret of clients, and of the policy that lets them in."""

FROM_FILE = "file:"
"""Begins a value of a Secret that stands in a file."""

SERVERS_OWN = ("status",)
METADATA = ("name", "namespace", "labels", "annotations", "generateName", "finalizers", "ownerReferences")
WITHOUT_NAMESPACE = frozenset(("Namespace", "GatewayClass", "CustomResourceDefinition"))


class Exported:
    """Documents for a cluster, in the order in which they can be applied, and what is to be said of them."""

    def __init__(
        self,
        documents: Iterable[Mapping[str, Any]],
        *,
        own_pools: frozenset[Key],
        secrets: Mapping[Key, Mapping[str, str]],
        api_keys: Mapping[Key, str],
        clients: Sequence[tuple[str, str]] = (),
    ) -> None:
        """*documents*: objects as they are written. *own_pools*: that Headgate's own picker serves.
        *secrets*: the text of Secrets, that of files in place. *api_keys*: of ModelServers whose key is in a
        file. *clients*: names and keys of who may call, where no policy says it."""
        self.problems: list[Problem] = []
        self._own_pools, self._secrets, self._api_keys = own_pools, secrets, api_keys
        found = [each for one in documents for each in self._exported(one)]
        if clients:
            found += self._let_in(found, clients)
        spaces = sorted({each["metadata"].get("namespace", "default") for each in found} - {"default"})
        there = {each["metadata"]["name"] for each in found if each["kind"] == "Namespace"}
        made = [_object("v1", "Namespace", "", each) for each in spaces if each not in there]
        self.documents = sorted([*made, *found], key=_turn)

    def _exported(self, document: Mapping[str, Any]) -> Iterator[Manifest]:
        each: Manifest = {key: value for key, value in document.items() if key not in SERVERS_OWN}
        metadata = {key: value for key, value in document["metadata"].items() if key in METADATA}
        if each["kind"] not in WITHOUT_NAMESPACE:
            metadata.setdefault("namespace", "default")
        each = copy.deepcopy({**each, "metadata": metadata})
        key = (metadata.get("namespace", ""), str(metadata.get("name", "")))
        match each["kind"]:
            case "InferencePool" if key in self._own_pools:
                self._point_to_own_picker(each)
            case "ModelServer" if _group(each) == HEADGATE_GROUP:
                yield from self._of_server(each, key)
            case "Secret" if key in self._secrets:
                values = self._secrets[key]
                for name, text in each.get("stringData", {}).items():
                    if str(text).startswith(FROM_FILE):
                        each["stringData"][name] = values[name]
        yield each

    def _point_to_own_picker(self, pool: Manifest) -> None:
        spec = pool["spec"]
        if _group(pool) == INFERENCE_GROUP:
            kept = {key: spec.get("endpointPickerRef", {}).get(key) for key in ("failureMode",)}
            ref = {"name": OWN_PICKER, "port": {"number": PICKER_PORT}}
            spec["endpointPickerRef"] = {**ref, **{name: value for name, value in kept.items() if value}}
        elif _group(pool) == INFERENCE_X_GROUP:
            spec["extensionRef"] = {**spec["extensionRef"], "name": OWN_PICKER, "portNumber": PICKER_PORT}
            for other in ("group", "kind"):
                spec["extensionRef"].pop(other, None)

    def _of_server(self, server: Manifest, key: Key) -> Iterator[Manifest]:
        spec = server["spec"]
        if _is_this_machine(str(spec.get("url", ""))):
            self._say(
                server,
                "spec.url",
                "LoopbackAddress",
                f"{spec['url']} is this machine, and in a cluster each Pod itself: run the server as a Pod "
                "with the pool's labels and leave this object out, or write an address that Pods reach",
            )
        if spec.get("tls", {}).get("caFile"):
            self._say(
                server,
                "spec.tls.caFile",
                "FileOfThisMachine",
                "a file of this machine, which no Pod has: mount it into controller and picker at that path",
            )
        if spec.get("apiKey", {}).get("file") and key in self._api_keys:
            name = f"{key[1]}-api-key"
            yield {**_object("v1", "Secret", key[0], name), "stringData": {"key": self._api_keys[key]}}
            spec["apiKey"] = {"secretRef": {"name": name, "key": "key"}}

    def _let_in(self, found: Sequence[Manifest], clients: Sequence[tuple[str, str]]) -> Iterator[Manifest]:
        """A Secret and a policy in each namespace with Gateways that no policy protects."""
        protected = {
            (each["metadata"]["namespace"], ref.get("name"))
            for each in found
            if each["kind"] == "AccessPolicy"
            for ref in each["spec"].get("targetRefs", ())
            if ref.get("kind") == "Gateway" and not ref.get("sectionName")
        }
        open_: dict[str, list[str]] = {}
        for each in found:
            key = (each["metadata"].get("namespace", ""), each["metadata"]["name"])
            if each["kind"] == "Gateway" and _group(each) == GATEWAY_GROUP and key not in protected:
                open_.setdefault(key[0], []).append(key[1])
        of_secret: list[dict[str, str]] = []
        for client, key_ in clients:  # a Secret has one key of a client
            free = next((each for each in of_secret if client not in each), None)
            if free is None:
                of_secret.append(free := {})
            free[client] = key_
        names = [CLIENTS if not number else f"{CLIENTS}-{number + 1}" for number in range(len(of_secret))]
        for namespace, gateways in open_.items():
            for name, values in zip(names, of_secret, strict=True):
                yield {**_object("v1", "Secret", namespace, name), "stringData": values}
            refs = [{"kind": "Gateway", "name": each} for each in gateways]
            policy = _object(f"{HEADGATE_GROUP}/v1alpha1", "AccessPolicy", namespace, CLIENTS)
            keys = {"secretRefs": [{"name": each} for each in names]}
            policy["spec"] = {"targetRefs": refs, "apiKeys": keys}
            yield policy

    def _say(self, each: Manifest, field: str, reason: str, message: str) -> None:
        meta = each["metadata"]
        place = Place(object=f"{each['kind']} {meta['namespace']}/{meta['name']}", field=field)
        self.problems.append(Problem(place, reason, message, "warning"))


def _group(each: Mapping[str, Any]) -> str:
    return str(each["apiVersion"]).rpartition("/")[0]


def _object(api: str, kind: str, namespace: str, name: str) -> Manifest:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata}


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


_FIRST = ("Namespace", "CustomResourceDefinition", "GatewayClass", "Secret", "ConfigMap")


def _turn(each: Manifest) -> int:
    """What others need comes first; the rest as it is written."""
    kind = each["kind"]
    return _FIRST.index(kind) if kind in _FIRST else len(_FIRST)
