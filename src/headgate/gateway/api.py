"""What a filter plugin and a backend plugin are, and what they may see."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec

from headgate.gateway.settings import GatewaySettings
from headgate.model.absent import Absent
from headgate.model.endpoints import Endpoint, Pool
from headgate.model.ids import PoolKey
from headgate.model.objects import BackendRef, ModelServer, PathMatch, RouteFilter
from headgate.model.services import Services
from headgate.model.snapshot import Snapshot

Json = Mapping[str, Any]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What filters do to one Envoy route, as fragments of Envoy's JSON."""

    request_add: tuple[Json, ...] = ()
    """HeaderValueOptions."""
    request_remove: tuple[str, ...] = ()
    response_add: tuple[Json, ...] = ()
    response_remove: tuple[str, ...] = ()
    action: Json = msgspec.field(default_factory=dict)
    """Fields of RouteAction."""
    redirect: Json | None = None
    """RedirectAction: the request goes no further."""

    def then(self, other: "Effect") -> "Effect":
        """Both effects, this one first."""
        return Effect(
            request_add=self.request_add + other.request_add,
            request_remove=self.request_remove + other.request_remove,
            response_add=self.response_add + other.response_add,
            response_remove=self.response_remove + other.response_remove,
            action={**self.action, **other.action},
            redirect=other.redirect or self.redirect,
        )

    @property
    def headers_only(self) -> bool:
        """True when it can stand on a single backend."""
        return not self.action and self.redirect is None


class Refusal(msgspec.Struct, frozen=True):
    """Why a filter cannot be applied."""

    message: str
    field: str = ""
    """Path of the wrong field within the filter; empty: the whole filter."""


class FilterKind(ABC):
    """One type of HTTPRoute filter; one file each in `gateway/filters`."""

    type: ClassVar[str]

    @abstractmethod
    def effect(self, settings: RouteFilter, path: PathMatch) -> Effect | Refusal:
        """The effect on requests matched by *path*, or why it is refused."""


class PoolTarget(msgspec.Struct, frozen=True, tag=True):
    """An InferencePool: its picker names the endpoint."""

    pool: Pool


class HostsTarget(msgspec.Struct, frozen=True, tag=True):
    """Plain hosts, taken in turns."""

    cluster: str
    endpoints: tuple[Endpoint, ...]
    h2c: bool = False


Target = PoolTarget | HostsTarget


class Unresolved(msgspec.Struct, frozen=True):
    """Why a backend cannot be served; its share of the requests is answered with 500."""

    reason: str
    message: str


class World(msgspec.Struct, frozen=True):
    """What backends are looked up in."""

    pools: Mapping[PoolKey, Pool]
    services: Services
    servers: Mapping[tuple[str, str], ModelServer]
    snapshot: Snapshot
    settings: GatewaySettings
    absent: Absent

    def missing(self, kind: str, namespace: str, name: str) -> Unresolved:
        """Why a reference to an object of this kind leads nowhere."""
        crossing = ": write namespace: NAMESPACE in the reference, and a ReferenceGrant there"
        if kind == "Service" and name in self.absent.names("InferencePool", namespace):
            pool = f"there is no Service {namespace}/{name}, but an InferencePool of this name"
            return Unresolved("BackendNotFound", f"{pool}: write its group, and kind: InferencePool")
        return Unresolved("BackendNotFound", self.absent.sentence(kind, namespace, name, crossing))


class BackendKind(ABC):
    """One kind of backend; one file each in `gateway/backends`."""

    kinds: ClassVar[tuple[tuple[str, str], ...]]
    """(group, kind) of the references it resolves."""

    @abstractmethod
    def resolve(self, ref: BackendRef, namespace: str, world: World) -> Target | Unresolved:
        """What *ref* leads to; *namespace* is the referent's."""
