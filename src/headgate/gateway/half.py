"""The gateway half as a whole: changes of objects in, what each Envoy should have and what is wrong out.

Pure: whoever runs it hands over changes and publishes what `refresh` returns.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from headgate.gateway import resources
from headgate.gateway.indexes import INDEXES
from headgate.gateway.plan import hosts, problems
from headgate.gateway.plan.classes import Target, targets
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.xds.versions import Changes, Resource
from headgate.model.family import Family, Refreshed
from headgate.model.meta import Identity
from headgate.model.problems import Place, Problem
from headgate.model.store import Store
from headgate.model.tracker import Node


def world_of(settings: GatewaySettings) -> Store:
    """An empty store that knows the gateway half's indexes and settings."""
    world = Store(INDEXES)
    world.put("settings", {"gateway": settings})
    return world


class Update(msgspec.Struct, frozen=True):
    """What is new."""

    changes: Mapping[Target, Changes]
    """Of the resources of each Envoy."""
    problems_changed: bool


class GatewayHalf:
    """All computations that are followed, over one store."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.world = world_of(settings)
        """Feed it by `apply` and `follow`, then `refresh`."""
        self._resources: Family[resources.Key, Resource] = Family(
            self.world, Node(_all_keys, ()), resources.one
        )
        self._problems: Family[Identity, tuple[Problem, ...]] = Family(
            self.world, Node(problems.judged, ()), problems.problems_of
        )
        self._shadowed: Family[tuple[Target, str, str], tuple[Problem, ...]] = Family(
            self.world, Node(hosts.all_hosts, ()), hosts.shadowed
        )
        self._with_problems: dict[object, tuple[Problem, ...]] = {}
        """Of each object and each host that there is something to say of."""
        self._failures: dict[object, Problem] = {}
        """Computations that raised: bugs of ours, by what they were to say something of."""

    def refresh(self) -> Update:
        """Bring everything up to date; costs what changed. A computation that fails keeps what it had."""
        stale = self.world.take_stale()
        found = self._resources.refresh(stale)
        told = self._note(self._problems.refresh(stale)) | self._note(self._shadowed.refresh(stale))
        for key in (*found.changed, *found.gone):
            told |= self._failures.pop(key, None) is not None
        for key, error in found.failed.items():
            self._failures[key] = _bug(f"{key[1]} {key[2]}", error)
            told = True
        changes: dict[Target, tuple[list[Resource], list[tuple[str, str]]]] = {}
        for (target, _, _), resource in found.changed.items():
            changes.setdefault(target, ([], []))[0].append(resource)
        for target, kind, name in found.gone:
            changes.setdefault(target, ([], []))[1].append((kind, name))
        self.world.collect()
        return Update(
            {target: Changes(tuple(new), tuple(gone)) for target, (new, gone) in changes.items()},  # type: ignore[arg-type]
            told,
        )

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
    return frozenset().union(*(world.get(resources.keys, target) for target in world.get(targets)))


def _bug(what: str, error: Exception) -> Problem:
    message = f"a bug in Headgate: {error!r}; what was served before is served on"
    return Problem(Place(object=what), "InternalError", message)
