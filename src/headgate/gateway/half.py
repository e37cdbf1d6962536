"""The gateway half as a whole: changes of objects in, what each Envoy should have and what is wrong out.

Pure: whoever runs it hands over changes and publishes what `refresh` returns.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.gateway import ir, resources
from headgate.gateway.indexes import INDEXES
from headgate.gateway.plan import access, hosts, problems, scopes
from headgate.gateway.plan.classes import Claim, Dataplane, claim, dataplanes, our_classes
from headgate.gateway.plan.listeners import dataplane_listeners
from headgate.gateway.plan.results.of_objects import AnyResult, judged, judged_in, result
from headgate.gateway.plan.summary import whole
from headgate.gateway.provision import desired as provisioning
from headgate.gateway.provision.objects import Wanted
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.standing import Generations, generations
from headgate.gateway.xds.linger import Linger
from headgate.gateway.xds.versions import Changes, Kind, Resource
from headgate.model.family import Family, Refreshed
from headgate.model.meta import Identity
from headgate.model.problems import Place, Problem
from headgate.model.store import Store, in_parts
from headgate.model.tracker import Node


def world_of(settings: GatewaySettings) -> Store:
    """An empty store that knows the gateway half's indexes and settings."""
    world = Store(INDEXES)
    world.put("settings", {"gateway": settings, "picker_body_mode": settings.foreign_body_mode})
    return world


def note_bound_ports(world: Store) -> None:
    """No backend may be where a listener is bound; to be called before anything is asked of backends."""
    bound = world.get(_bound_ports)
    if world.entry("settings", "bound_ports") != bound:
        world.set("settings", "bound_ports", bound)


def note_settled(world: Store) -> None:
    """What has to be known before anything else is asked."""
    note_bound_ports(world)
    scopes.note_grouped(world)


def _bound_ports(world: Store) -> frozenset[int]:
    return frozenset(
        each.port
        for dataplane in world.get(dataplanes)
        for each in world.get(dataplane_listeners, dataplane)
        if each.served
    )


Provisioned = Wanted | str | None
"""See `provision.desired`."""


class Update(msgspec.Struct, frozen=True):
    """What is new."""

    changes: Mapping[Dataplane, Changes]
    """Of the resources of each Envoy."""
    problems_changed: bool
    results: Mapping[Identity, AnyResult | None] = msgspec.field(default_factory=dict)
    """Of the objects whose result is another; None: gone, or another controller's."""
    provisioned: Mapping[Identity, Provisioned] = msgspec.field(default_factory=dict)
    """Of the Gateways that are to be run by other objects."""
    claims: Mapping[Identity, Claim | None] = msgspec.field(default_factory=dict)
    """Of the GatewayClasses that are ours, where they are others; None: gone, or no longer ours."""
    generations: Mapping[Dataplane, Generations | None] = msgspec.field(default_factory=dict)
    """Of the Gateways of each Envoy, where they are others; None: there is no such Envoy any more."""


class GatewayHalf:
    """All computations that are followed, over one store."""

    def __init__(
        self,
        settings: GatewaySettings,
        *,
        follow_results: bool = False,
        provision: ProvisionSettings | None = None,
    ) -> None:
        """*follow_results*: every update tells the results that are new, and the objects that Gateways are to
        be run by, where *provision* says how."""
        self.world = world_of(settings)
        """Feed it by `apply` and `follow`, then `refresh`."""
        self._resources: Family[resources.Key, Resource] = Family(
            self.world, [Node(_all_keys, ())], resources.one
        )
        self._problems: Family[Identity, tuple[Problem, ...]] = Family(
            self.world, in_parts(problems.judged_in), problems.problems_of
        )
        self._shadowed: Family[tuple[Dataplane, str, str], tuple[Problem, ...]] = Family(
            self.world, [Node(scopes.hosts_in, (group,)) for group in scopes.ALL_GROUPS], hosts.shadowed
        )
        self._results: Family[Identity, AnyResult | None] = Family(
            self.world, in_parts(judged_in) if follow_results else [], result
        )
        self._claims: Family[Identity, Claim | None] = Family(
            self.world, [Node(our_classes, ())] if follow_results else [], claim
        )
        self._generations: Family[Dataplane, Generations] = Family(
            self.world, [Node(dataplanes, ())], generations
        )
        self.world.set(provisioning.TABLE, provisioning.KEY, provision)
        self._provisioned: Family[Identity, Provisioned] = Family(
            self.world,
            [Node(provisioning.gateways, ())] if provision is not None else [],
            provisioning.desired,
        )
        for each in (whole, _bound_ports, scopes.to_be_grouped):  # asked at every change: to be remembered
            self.world.watch(Node(each, ()))
        self._stale: dict[Node, None] = {}
        """What has to be looked at again."""
        self._with_problems: dict[object, tuple[Problem, ...]] = {}
        """Of each object and each host that there is something to say of."""
        self._linger = Linger()
        self._failures: dict[object, Problem] = {}
        """Computations that raised: bugs of ours, by what they were to say something of."""

    def let_in(self, clients: tuple[tuple[str, str], ...]) -> None:
        """These clients, names and keys, may call where no policy says who may. Call `refresh` after it."""
        self.world.set("settings", "client_keys", ir.Access(access.DEFAULT, ir.Keys(clients)))

    def refresh(self, now: float) -> Update:
        """Bring everything up to date; costs what changed. A computation that fails keeps what it had.

        *now* is the caller's clock, in seconds. Call again at `due`.
        """
        note_settled(self.world)
        self._stale |= dict.fromkeys(self.world.take_stale())
        stale = tuple(self._stale)
        found = self._resources.refresh(stale)
        told = self._note(self._problems.refresh(stale)) | self._note(self._shadowed.refresh(stale))
        results = self._results.refresh(stale)
        provisioned = self._provisioned.refresh(stale)
        claims = self._claims.refresh(stale)
        told_of = self._generations.refresh(stale)
        self._stale = {}
        for identity in (*results.changed, *results.gone):
            told |= self._failures.pop(("result", identity), None) is not None
        for identity, error in (*results.failed.items(), *provisioned.failed.items()):
            self._failures["result", identity] = _bug(f"status of {identity}", error)
            told = True
        for key in (*found.changed, *found.gone):
            told |= self._failures.pop(key, None) is not None
        for key, error in found.failed.items():
            self._failures[key] = _bug(f"{key[1]} {key[2]}", error)
            told = True
        changes: dict[Dataplane, tuple[dict[tuple[Kind, str], Resource], list[tuple[Kind, str]]]] = {}
        for key, each in found.changed.items():
            dataplane, kind, name = key
            if kind == "endpoint":
                each = self._lingering(dataplane, each, now)
            changes.setdefault(dataplane, ({}, []))[0][kind, name] = each
        for dataplane, kind, name in found.gone:
            if kind == "endpoint":
                self._linger.gone((dataplane, name))
            changes.setdefault(dataplane, ({}, []))[1].append((kind, name))
        for (dataplane, name), (there, leaving) in self._linger.expired(now).items():
            its = resources.assigned(name, there, leaving)
            changes.setdefault(dataplane, ({}, []))[0]["endpoint", name] = its
        self.world.collect()
        return Update(
            {
                dataplane: Changes(tuple(new.values()), tuple(gone))
                for dataplane, (new, gone) in changes.items()
            },
            told,
            {**results.changed, **dict.fromkeys(results.gone)},
            {**provisioned.changed, **dict.fromkeys(provisioned.gone)},
            {**claims.changed, **dict.fromkeys(claims.gone)},
            {**told_of.changed, **dict.fromkeys(told_of.gone)},
        )

    @property
    def dataplanes(self) -> frozenset[Dataplane]:
        """Every Envoy there is to be."""
        return self.world.get(dataplanes)

    @property
    def due(self) -> float | None:
        """When to refresh although nothing changed."""
        return self._linger.due

    def _lingering(self, dataplane: Dataplane, wanted: Resource, now: float) -> Resource:
        """The endpoints of a cluster, with those that just left."""
        there = self.world.get(resources.hosts_of, wanted.name)
        leaving = self._linger.changed((dataplane, wanted.name), there, now)
        return resources.assigned(wanted.name, there, leaving) if leaving else wanted

    def made_of(self, resource: str) -> frozenset[Identity]:
        """Objects that a resource (`kind name`) came to be by, in any Envoy."""
        kind, _, name = resource.partition(" ")
        nodes = (Node(resources.one, ((dataplane, kind, name),)) for dataplane in self.world.get(dataplanes))
        facts = (fact for node in nodes for fact in self.world.facts_of(node))
        return frozenset(
            each for fact in facts if isinstance(fact, tuple) for each in fact if isinstance(each, Identity)
        )

    def results(self) -> Mapping[Identity, AnyResult]:
        """What became of every object of ours, as Kubernetes shows it."""
        found = ((each, self.world.get(result, each)) for each in sorted(self.world.get(judged)))
        return {identity: each for identity, each in found if each is not None}

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong now, ordered, with the places where it is written now."""
        found = {each for some in self._with_problems.values() for each in some}
        return tuple(sorted({*(self.world.located(each) for each in found), *self._failures.values()}))

    def _note(self, found: Refreshed[Any, tuple[Problem, ...]]) -> bool:
        """Whether there is anything new to say."""
        told = False
        for key, some in found.changed.items():
            told |= self._failures.pop(key, None) is not None
            if some:
                self._with_problems[key] = some
                told = True
            else:
                told |= self._with_problems.pop(key, None) is not None
        for key in found.gone:
            told |= self._with_problems.pop(key, None) is not None
        for key, error in found.failed.items():
            self._failures[key] = _bug(str(key), error)
            told = True
        return told


def _all_keys(world: Store) -> frozenset[resources.Key]:
    return frozenset().union(*(world.get(resources.keys, dataplane) for dataplane in world.get(dataplanes)))


def _bug(what: str, error: Exception) -> Problem:
    message = f"a bug in Headgate: {error!r}; what was served before is served on"
    return Problem(Place(object=what), "InternalError", message)
