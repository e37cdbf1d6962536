"""ModelServer backends: one model server straight from a route, without a picker."""

from typing import ClassVar

from headgate.gateway.api import BackendKind, HostsTarget, Target, Unresolved, World
from headgate.gateway.envoy import names
from headgate.model.meta import HEADGATE_GROUP
from headgate.model.objects import BackendRef
from headgate.model.topology import server_endpoints


class ModelServerBackend(BackendKind):
    """A ModelServer; its URL says host and port, the reference's port means nothing."""

    kinds: ClassVar[tuple[tuple[str, str], ...]] = ((HEADGATE_GROUP, "ModelServer"),)

    def resolve(self, ref: BackendRef, namespace: str, world: World) -> Target | Unresolved:
        """The addresses of the server's URL; a wrong URL is reported where the server is read."""
        server = world.servers.get((namespace, ref.name))
        if server is None:
            return world.missing("ModelServer", namespace, ref.name)
        endpoints, _ = server_endpoints(server, world.snapshot)
        return HostsTarget(cluster=names.model_server(namespace, ref.name), endpoints=endpoints)
