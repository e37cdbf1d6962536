"""ModelServer backends: one model server straight from a route, without a picker."""

from typing import ClassVar

from headgate.gateway import ir
from headgate.gateway.api import BackendPlugin, Unresolved, missing
from headgate.gateway.envoy import names
from headgate.gateway.plan import upstream_tls
from headgate.model import topology
from headgate.model.endpoints import Endpoint
from headgate.model.meta import HEADGATE_GROUP
from headgate.model.objects import BackendRef, ModelServer
from headgate.model.store import Store


class ModelServerBackend(BackendPlugin):
    """A ModelServer; its URL says host and port, the reference's port means nothing."""

    KINDS: ClassVar[tuple[tuple[str, str], ...]] = ((HEADGATE_GROUP, "ModelServer"),)
    PREFIX: ClassVar[str] = names.MODEL_SERVER

    @classmethod
    def resolve(cls, world: Store, ref: BackendRef, namespace: str) -> ir.Backend | Unresolved:
        """The server; a wrong URL is reported where the server is read."""
        found = cls.of_cluster(world, f"{namespace}/{ref.name}")
        return found or missing(world, "ModelServer", namespace, ref.name)

    @classmethod
    def of_cluster(cls, world: Store, rest: str) -> ir.Backend | None:
        """*rest* is `namespace/name`."""
        namespace, _, name = rest.partition("/")
        server = world.object(ModelServer, namespace, name)
        if server is None:
            return None
        return ir.HostsBackend(
            names.model_server(namespace, name), tls=upstream_tls.of_servers(world, (server,))
        )

    @classmethod
    def endpoints(cls, world: Store, rest: str) -> tuple[Endpoint, ...]:
        """The addresses of the server's URL."""
        namespace, _, name = rest.partition("/")
        return topology.server_endpoints(world, namespace, name)
