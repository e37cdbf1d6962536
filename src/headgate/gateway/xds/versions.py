"""Resources with content versions, and what each of them names: what the delta-xDS session works on."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Literal, get_args

import msgspec

Kind = Literal["secret", "cluster", "endpoint", "route", "scope", "listener"]
"""Envoy's SDS, CDS, EDS, RDS, SRDS and LDS."""

KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which a change travels."""

Json = Mapping[str, Any]

_CLUSTER_FIELDS = frozenset({"cluster", "clusterName", "cluster_name"})
_ROUTE_FIELDS = frozenset({"routeConfigName", "route_config_name"})
_SCOPE_FIELDS = frozenset({"scopedRoutes", "scoped_routes"})
_CLUSTER_LISTS = frozenset({"clusters"})


class Resource(msgspec.Struct, frozen=True, kw_only=True):
    """One Envoy resource, ready to be sent."""

    kind: Kind
    name: str
    version: str
    """Hash of the content: equal content has the same version in every process."""
    body: bytes
    """The serialized message."""
    names_clusters: frozenset[str] = frozenset()
    """Clusters that it needs: route actions, picker services, access-log services."""
    names_routes: frozenset[str] = frozenset()
    """Route configurations that a listener takes from RDS."""
    takes_scopes: bool = False
    """A listener that takes routes from SRDS."""
    names_endpoints: frozenset[str] = frozenset()
    """The endpoint resource of an EDS cluster."""

    def __repr__(self) -> str:
        """Without the body, which may hold a private key."""
        return f"Resource({self.kind} {self.name} {self.version})"


class Changes(msgspec.Struct, frozen=True):
    """What is new of one Envoy's resources."""

    changed: tuple[Resource, ...] = ()
    removed: tuple[tuple[Kind, str], ...] = ()

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self.changed or self.removed)


Wanted = dict[Kind, dict[str, Resource]]
"""All resources of one Envoy, by kind and name."""


def nothing() -> Wanted:
    """No resource of any kind."""
    return {kind: {} for kind in KINDS}


def apply(wanted: Wanted, changes: Changes) -> None:
    """Bring *wanted* up to date."""
    for each in changes.changed:
        wanted[each.kind][each.name] = each
    for kind, name in changes.removed:
        wanted[kind].pop(name, None)


def difference(before: Wanted, after: Wanted) -> Changes:
    """What leads from one to the other."""
    return Changes(
        tuple(
            each
            for kind in KINDS
            for name, each in after[kind].items()
            if name not in before[kind] or before[kind][name].version != each.version
        ),
        tuple((kind, name) for kind in KINDS for name in before[kind] if name not in after[kind]),
    )


def resource(kind: Kind, name: str, content: Json, body: bytes) -> Resource:
    """One resource of its protobuf JSON and its serialized form; what it names is found in the JSON."""
    clusters: set[str] = set()
    routes: set[str] = set()
    fields: set[str] = set()
    if kind not in ("endpoint", "secret", "cluster"):  # these name nobody
        _names(content, clusters, routes, fields)
    return Resource(
        kind=kind,
        name=name,
        version=version(body),
        body=body,
        names_clusters=frozenset(clusters - {name}),
        names_routes=frozenset(routes) if kind == "listener" else frozenset(),
        takes_scopes=kind == "listener" and not _SCOPE_FIELDS.isdisjoint(fields),
        names_endpoints=frozenset(_endpoints(name, content)) if kind == "cluster" else frozenset(),
    )


def version(body: bytes) -> str:
    """The version of a resource with this content."""
    return blake2b(body, digest_size=8).hexdigest()


def _endpoints(name: str, cluster: Json) -> Iterator[str]:
    if cluster.get("type") == "EDS":
        config = cluster.get("edsClusterConfig") or cluster.get("eds_cluster_config") or {}
        yield str(config.get("serviceName") or config.get("service_name") or name)


def _names(value: object, clusters: set[str], routes: set[str], fields: set[str]) -> None:
    """Collect what is named at any depth, and the names of all fields."""
    if isinstance(value, Mapping):
        fields.update(value)
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
                _names(inner, clusters, routes, fields)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            _names(inner, clusters, routes, fields)
