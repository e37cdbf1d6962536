"""Resources with content versions, and what each of them names: the input of the delta-xDS session."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal

import msgspec

Kind = Literal["cluster", "endpoint", "route", "listener"]
"""Envoy's CDS, EDS, RDS and LDS."""

KINDS: tuple[Kind, ...] = ("cluster", "endpoint", "route", "listener")
"""In the order in which a change travels."""

Json = Mapping[str, Any]

Resources = Mapping[str, Mapping[str, Json]] | Mapping[Kind, Mapping[str, Json]]
"""Kind → name → content."""

_CLUSTER_FIELDS = frozenset({"cluster", "clusterName", "cluster_name"})
_ROUTE_FIELDS = frozenset({"routeConfigName", "route_config_name"})
_CLUSTER_LISTS = frozenset({"clusters"})


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One Envoy resource in protobuf JSON form."""

    kind: Kind
    name: str
    version: str
    """Hash of the content: equal content has the same version in every process."""
    json: Json = msgspec.field(default_factory=dict)
    body: bytes = b""
    names_clusters: frozenset[str] = frozenset()
    """Clusters that it needs: route actions, picker services, access-log services."""
    names_routes: frozenset[str] = frozenset()
    """Route configurations that a listener takes from RDS."""
    names_endpoints: frozenset[str] = frozenset()
    """The endpoint resource of an EDS cluster."""


class Changes(msgspec.Struct, frozen=True):
    """What is new of one Envoy's resources."""

    changed: tuple[Resource, ...] = ()
    removed: tuple[tuple[Kind, str], ...] = ()


class Target(msgspec.Struct, frozen=True):
    """All resources at one instant, by kind and name, names in order."""

    resources: Mapping[Kind, Mapping[str, Resource]] = msgspec.field(default_factory=dict)

    def of(self, kind: Kind) -> Mapping[str, Resource]:
        """The resources of one kind."""
        return self.resources.get(kind, {})


def target(resources: Resources, previous: Target | None = None) -> Target:
    """Give every resource its version; content equal to *previous* is taken from there, not hashed again."""
    before = previous or Target()
    return Target(
        {
            kind: {
                name: _kept(before.of(kind).get(name), content) or resource(kind, name, content)
                for name, content in sorted(resources.get(kind, {}).items())
            }
            for kind in KINDS
        }
    )


def resource(kind: Kind, name: str, content: Json) -> Resource:
    """One versioned resource; the version is BLAKE2b of the JSON with sorted keys."""
    encoded = msgspec.json.encode(content, order="sorted")
    clusters: set[str] = set()
    routes: set[str] = set()
    if kind != "endpoint":
        _names(content, clusters, routes)
    return Resource(
        kind=kind,
        name=name,
        version=blake2b(encoded, digest_size=8).hexdigest(),
        json=content,
        names_clusters=frozenset(clusters - {name}),
        names_routes=frozenset(routes) if kind == "listener" else frozenset(),
        names_endpoints=frozenset(_endpoints(name, content)) if kind == "cluster" else frozenset(),
    )


def _kept(old: Resource | None, content: Json) -> Resource | None:
    return old if old is not None and (old.json is content or old.json == content) else None


def _endpoints(name: str, cluster: Json) -> Iterator[str]:
    if cluster.get("type") == "EDS":
        config = cluster.get("edsClusterConfig") or cluster.get("eds_cluster_config") or {}
        yield str(config.get("serviceName") or config.get("service_name") or name)


def _names(value: object, clusters: set[str], routes: set[str]) -> None:
    """Collect what is named at any depth."""
    if isinstance(value, Mapping):
        for field, inner in value.items():
            if isinstance(inner, str):
                if field in _CLUSTER_FIELDS:
                    clusters.add(inner)
                elif field in _ROUTE_FIELDS:
                    routes.add(inner)
            elif isinstance(inner, (Mapping, list, tuple)):
                if field in _CLUSTER_LISTS and not isinstance(inner, Mapping):
                    named = (item.get("name") for item in inner if isinstance(item, Mapping))
                    clusters.update(name for name in named if isinstance(name, str))
                _names(inner, clusters, routes)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _names(inner, clusters, routes)
