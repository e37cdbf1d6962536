"""backendRefs → targets: looks kinds up among the plugins and asks for ReferenceGrants."""

import difflib
from collections.abc import Mapping

from headgate import registry
from headgate.gateway import backends
from headgate.gateway.api import BackendKind, HostsTarget, Target, Unresolved, World
from headgate.gateway.settings import GatewaySettings
from headgate.model.absent import Absent
from headgate.model.endpoints import Pool
from headgate.model.meta import GATEWAY_GROUP
from headgate.model.objects import BackendRef, ModelServer, ReferenceGrant, of_type
from headgate.model.services import Services
from headgate.model.snapshot import Snapshot


class BackendRefs:
    """Resolves the references of one snapshot and remembers which plain hosts are in use."""

    def __init__(self, snapshot: Snapshot, pools: tuple[Pool, ...], settings: GatewaySettings) -> None:
        plugins = registry.classes(backends, BackendKind)  # type: ignore[type-abstract]
        self._kinds = {key: kind() for kind in plugins for key in kind.kinds}
        self._grants = of_type(snapshot.objects, ReferenceGrant)
        self._world = World(
            pools={each.key: each for each in pools},
            services=Services(snapshot.objects, snapshot.own),
            servers={(each.namespace, each.name): each for each in of_type(snapshot.objects, ModelServer)},
            snapshot=snapshot,
            settings=settings,
            absent=Absent(snapshot),
        )
        self._hosts: dict[str, HostsTarget] = {}

    @property
    def hosts(self) -> Mapping[str, HostsTarget]:
        """Plain backends met so far, by cluster name."""
        return self._hosts

    @property
    def settings(self) -> GatewaySettings:
        """As given."""
        return self._world.settings

    def resolve(self, ref: BackendRef, route_namespace: str) -> Target | Unresolved:
        """What an HTTPRoute of *route_namespace* means by *ref*."""
        kind = self._kinds.get((ref.group, ref.kind))
        if kind is None:
            return Unresolved("InvalidKind", self._not_a_backend(ref))
        namespace = ref.namespace or route_namespace
        if namespace != route_namespace and not self._granted(ref, route_namespace, namespace):
            group = ref.group or "''"
            message = (
                f"no ReferenceGrant in namespace {namespace} lets HTTPRoutes of {route_namespace} refer to "
                f"it; write one there, with from: [{{group: {GATEWAY_GROUP}, kind: HTTPRoute, "
                f"namespace: {route_namespace}}}] and to: [{{group: {group}, kind: {ref.kind}}}]"
            )
            return Unresolved("RefNotPermitted", message)
        target = kind.resolve(ref, namespace, self._world)
        if isinstance(target, HostsTarget):
            self._hosts[target.cluster] = target
        return target

    def _not_a_backend(self, ref: BackendRef) -> str:
        """What to write instead of a kind, or a group, that cannot be a backend."""
        groups = [group for group, kind in sorted(self._kinds) if kind == ref.kind]
        if groups:
            what = f"group {ref.group} is wrong" if ref.group else "group is missing"
            return f"{what} for kind {ref.kind}: write group: {groups[0]}"
        shown = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
        near = difflib.get_close_matches(ref.kind[:100], sorted({kind for _, kind in self._kinds}), 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {self._known()}"
        return f"{shown} cannot be a backend; {hint}"

    def _known(self) -> str:
        return ", ".join(f"{group}/{kind}" if group else kind for group, kind in sorted(self._kinds))

    def _granted(self, ref: BackendRef, source: str, namespace: str) -> bool:
        return any(
            (each.group, each.kind, each.namespace) == (GATEWAY_GROUP, "HTTPRoute", source)
            and (to.group, to.kind) == (ref.group, ref.kind)
            and to.name in (None, ref.name)
            for grant in self._grants
            if grant.namespace == namespace
            for each in grant.spec.from_
            for to in grant.spec.to
        )
