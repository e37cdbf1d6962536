"""Bare URLs → the objects that a user would have written: one pool of model servers behind one route."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from headgate.manifests.decode import decode
from headgate.model.forbidden import Own, refusal
from headgate.model.objects import Object
from headgate.model.server_urls import parse_url, shown

POOL = "default"
GATEWAY = "headgate"
LABEL = "headgate.dev/pool"


class BadUrlError(ValueError):
    """A model server's URL that cannot be used; the message names it and says why."""


def normalise(url: str) -> str:
    """`scheme://host:port` of a model server; `http` when no scheme is given, OpenAI's `/v1` dropped.

    Raises:
        BadUrlError: it has another path, a user, a query, a strange scheme, or no host.
    """
    text = url.strip()
    if "://" not in text:
        text = f"http://{text}"
    text = text.rstrip("/").removesuffix("/v1")
    parsed = parse_url(text)
    if isinstance(parsed, str):
        raise BadUrlError(
            f"bad model server URL {shown(url)!r}: {parsed.removeprefix(repr(shown(text))).strip()}"
        )
    if why := refusal(parsed.host, parsed.port, Own()):
        raise BadUrlError(f"bad model server URL {shown(url)!r}: {why}")
    host = f"[{parsed.host}]" if ":" in parsed.host else parsed.host
    return f"{parsed.scheme}://{host}:{parsed.port}"


def normalise_all(urls: Iterable[str]) -> tuple[str, ...]:
    """All *urls* normalised, in order, each server once.

    Raises:
        BadUrlError: one of them cannot be used.
    """
    return tuple(dict.fromkeys(map(normalise, urls)))


def objects_of(urls: Iterable[str]) -> tuple[Object, ...]:
    """The objects for *urls*, ordered: Gateway, HTTPRoute, a FailOpen InferencePool, a ModelServer per URL.

    Raises:
        BadUrlError: one of them cannot be used.
    """
    documents = [_GATEWAY, _ROUTE, _POOL, *map(_server, normalise_all(urls))]
    found = [decode(document, "", lambda path: 0).object for document in documents]
    return tuple(sorted((each for each in found if each is not None), key=lambda each: each.identity))


def _server(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    name = f"{(parts.hostname or '').replace(':', '-').strip('-')}-{parts.port}"
    return {
        "apiVersion": "headgate.dev/v1alpha1",
        "kind": "ModelServer",
        "metadata": {"name": name if parts.scheme == "http" else f"{name}-tls", "labels": {LABEL: POOL}},
        "spec": {"url": url},
    }


_GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": GATEWAY},
    "spec": {"gatewayClassName": "headgate", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
}
_ROUTE = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": GATEWAY},
    "spec": {
        "parentRefs": [{"name": GATEWAY}],
        "rules": [
            {"backendRefs": [{"group": "inference.networking.k8s.io", "kind": "InferencePool", "name": POOL}]}
        ],
    },
}
_POOL = {
    "apiVersion": "inference.networking.k8s.io/v1",
    "kind": "InferencePool",
    "metadata": {"name": POOL},
    "spec": {
        "selector": {"matchLabels": {LABEL: POOL}},
        "targetPorts": [{"number": 8000}],
        "endpointPickerRef": {"name": "headgate-picker", "port": {"number": 9002}, "failureMode": "FailOpen"},
    },
}
