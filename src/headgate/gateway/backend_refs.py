"""backendRefs → targets: looks kinds up among the plugins and asks for ReferenceGrants."""

from collections.abc import Mapping

from headgate import registry
from headgate.gateway import backends
from headgate.gateway.api import BackendKind, HostsTarget, Target, Unresolved, World
from headgate.gateway.settings import GatewaySettings
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
            services=Services(snapshot.objects),
            servers={(each.namespace, each.name): each for each in of_type(snapshot.objects, ModelServer)},
            snapshot=snapshot,
            settings=settings,
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
            shown = f"{ref.group}/{ref.kind}" if ref.group else ref.kind
            return Unresolved("InvalidKind", f"{shown} cannot be a backend; use one of {self._known()}")
        namespace = ref.namespace or route_namespace
        if namespace != route_namespace and not self._granted(ref, route_namespace, namespace):
            message = f"no ReferenceGrant in {namespace} lets HTTPRoutes of {route_namespace} refer to this"
            return Unresolved("RefNotPermitted", message)
        target = kind.resolve(ref, namespace, self._world)
        if isinstance(target, HostsTarget):
            self._hosts[target.cluster] = target
        return target

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
