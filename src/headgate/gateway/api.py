"""What a filter plugin and a backend plugin are, and what they may see."""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import msgspec

from headgate.gateway import ir
from headgate.model import absent
from headgate.model.endpoints import Endpoint
from headgate.model.meta import Identity
from headgate.model.objects import BackendRef, PathMatch, RouteFilter
from headgate.model.store import Store

Json = Mapping[str, Any]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """What filters do to one Envoy route or to one of its weighted clusters, as Envoy's JSON."""

    request_add: tuple[Json, ...] = ()
    """HeaderValueOptions. Pickers see what they make of the request."""
    request_remove: tuple[str, ...] = ()
    response_add: tuple[Json, ...] = ()
    response_remove: tuple[str, ...] = ()
    own_answers_set: tuple[Json, ...] = ()
    """HeaderValueOptions for every answer, those that filters of the gateway make among them."""
    action: Json = msgspec.field(default_factory=dict)
    """Fields of RouteAction."""
    mirrors: tuple[Json, ...] = ()
    """RequestMirrorPolicies."""
    preflights: bool = False
    """Browsers' OPTIONS requests are answered, whatever method and headers the match asks for."""
    per_filter: Json = msgspec.field(default_factory=dict)
    """`typed_per_filter_config`."""
    redirect: Json | None = None
    """RedirectAction: the request goes no further."""

    @property
    def whole_route(self) -> bool:
        """Whether some part of it is nothing that Envoy can do for one of several weighted clusters."""
        return bool(self.action or self.mirrors or self.redirect)

    def then(self, other: "Effect") -> "Effect":
        """Both effects, this one first; of two that rewrite the path *other* does."""
        action = self.action
        if _PATH_REWRITES & set(other.action):
            action = {key: value for key, value in action.items() if key not in _PATH_REWRITES}
        return Effect(
            request_add=self.request_add + other.request_add,
            request_remove=self.request_remove + other.request_remove,
            response_add=self.response_add + other.response_add,
            response_remove=self.response_remove + other.response_remove,
            own_answers_set=self.own_answers_set + other.own_answers_set,
            action={**action, **other.action},
            mirrors=self.mirrors + other.mirrors,
            preflights=self.preflights or other.preflights,
            per_filter={**self.per_filter, **other.per_filter},
            redirect=other.redirect or self.redirect,
        )


_PATH_REWRITES = frozenset({"prefix_rewrite", "regex_rewrite"})
"""Envoy takes one of them."""


class Position(msgspec.Struct, frozen=True):
    """Where the listener stands that a route is rendered for."""

    scheme: ir.Scheme
    port: int
    """As clients see it."""
    http_port: int = 80
    """Where clients find port 80."""
    https_port: int = 443
    """Where clients find port 443."""


class Refusal(msgspec.Struct, frozen=True):
    """Why a filter cannot be applied."""

    message: str
    field: str = ""
    """Path of the wrong field within the filter; empty: the whole filter."""
    reason: str = "UnsupportedValue"
    left_out: bool = False
    """The rule is served without the filter; otherwise its requests are answered with 500."""


class Scope(msgspec.Struct, frozen=True):
    """What a filter may look at while it is read."""

    world: Store
    route: Identity
    path: PathMatch
    """The match that the filter is read for."""
    on_backend: bool = False
    """It stands on a backendRef and not on the rule."""


class FilterPlugin(ir.Filter, frozen=True):
    """One type of route filter; one file each in `gateway/filters`. The struct holds what was read."""

    TYPE: ClassVar[str]
    ORDER: ClassVar[int]
    """Filters of a rule apply in this order, whatever order they are written in; no two have the same."""
    ON_BACKENDS: ClassVar[bool] = False
    """It may stand on a backendRef too."""
    ANSWERS: ClassVar[bool] = False
    """It answers requests by itself, so that the rule needs no backend."""

    @classmethod
    @abstractmethod
    def read(cls, settings: RouteFilter, scope: Scope) -> Self | Refusal:
        """What *settings* mean, or why they are refused."""

    @abstractmethod
    def effect(self, at: Position) -> Effect:
        """What it does to an Envoy route at that position."""


class Unresolved(msgspec.Struct, frozen=True):
    """Why a backend cannot be served; its share of the requests is answered with 500."""

    reason: str
    message: str


def missing(world: Store, kind: str, namespace: str, name: str) -> Unresolved:
    """Why a reference to a backend of this kind leads nowhere."""
    crossing = ": write namespace: NAMESPACE in the reference, and a ReferenceGrant there"
    if kind == "Service" and name in absent.names(world, "InferencePool", namespace):
        pool = f"there is no Service {namespace}/{name}, but an InferencePool of this name"
        return Unresolved("BackendNotFound", f"{pool}: write its group, and kind: InferencePool")
    return Unresolved("BackendNotFound", absent.sentence(world, kind, namespace, name, crossing))


class BackendPlugin:
    """One kind of backend; one file each in `gateway/backends`."""

    KINDS: ClassVar[tuple[tuple[str, str], ...]]
    """(group, kind) of the references it resolves."""
    PREFIX: ClassVar[str]
    """Its clusters are called `PREFIX/…`; what follows is the *rest* that tells one from another."""

    @classmethod
    @abstractmethod
    def resolve(cls, world: Store, ref: BackendRef, namespace: str) -> ir.Backend | Unresolved:
        """What *ref* leads to; *namespace* is the referent's. Nothing of it depends on endpoints."""

    @classmethod
    @abstractmethod
    def of_cluster(cls, world: Store, rest: str) -> ir.Backend | None:
        """The same backend by its cluster's name; None when it is gone."""

    @classmethod
    @abstractmethod
    def endpoints(cls, world: Store, rest: str) -> tuple[Endpoint, ...]:
        """Where it answers now."""
