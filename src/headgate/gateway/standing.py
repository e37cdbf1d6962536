"""What Envoys have said of what results call served: acknowledged, refused, or nothing yet. Pure.

A Gateway is programmed when its Envoy has acknowledged everything that it was sent since the Gateway is as
it is.
"""

from collections.abc import Mapping

from msgspec.structs import replace

from headgate.gateway.plan.classes import Dataplane, dataplane_of, gateways_of
from headgate.gateway.plan.listeners import attached_sets, gateway_of, listeners_of
from headgate.gateway.plan.results.backends import PoolResult
from headgate.gateway.plan.results.conditions import Condition, Conditions, Parent
from headgate.gateway.plan.results.gateways import GatewayResult, ListenerResult, ListenerSetResult
from headgate.gateway.plan.results.of_objects import AnyResult, Result
from headgate.gateway.plan.results.routes import RouteResult
from headgate.model.meta import Identity
from headgate.model.objects import ListenerSet
from headgate.model.store import Store

PENDING = "Pending"
"""Reason of Gateways that no Envoy has acknowledged yet."""

REFUSED = "Invalid"
"""Reason of what Envoy refuses."""

_NOT_YET = "no Envoy has acknowledged this yet"

_Programmable = GatewayResult | ListenerSetResult


Generations = Mapping[Identity, int]
"""Of Gateways and ListenerSets."""


def generations(world: Store, dataplane: Dataplane) -> Generations:
    """The Gateways and ListenerSets of an Envoy as they are now."""
    found: dict[Identity, int] = {}
    for gateway in world.get(gateways_of, dataplane):
        its = world.any_object(gateway)
        sets = world.get(attached_sets, gateway)
        found.update((each.identity, each.metadata.generation) for each in (its, *sets) if each is not None)
    return found


class Standing:
    """What Envoys said so far."""

    def __init__(self) -> None:
        self._taken: dict[Dataplane, Generations] = {}
        """`generations` of each Envoy when it had last acknowledged everything."""
        self._refused: dict[Identity, AnyResult] = {}
        """Results of objects that are not served as they are, since Envoy refuses it."""
        self._closed: dict[tuple[Dataplane, str], str] = {}
        """An Envoy, and the name of a listener that it cannot open → why."""

    def taken(self, world: Store, dataplane: Dataplane) -> frozenset[Identity]:
        """An Envoy has acknowledged everything. The objects that another thing is to be said of now."""
        now, before = world.get(generations, dataplane), self._taken.get(dataplane, {})
        if now is before:
            return frozenset()
        self._taken[dataplane] = now
        return frozenset(each for each, generation in now.items() if before.get(each) != generation)

    def forget(self, dataplane: Dataplane) -> None:
        """There is no such Envoy any more."""
        self._taken.pop(dataplane, None)

    def refused(self, now: Mapping[Identity, tuple[AnyResult | None, str]]) -> frozenset[Identity]:
        """Of these objects alone Envoy refuses what they make: their results as if it did not, and its words.

        The objects that another thing is to be said of now.
        """
        found = {each: _refused(was, why) for each, (was, why) in now.items() if was is not None}
        changed = set(found.keys() | self._refused.keys())
        changed -= {each for each, told in found.items() if self._refused.get(each) == told}
        self._refused = found
        return frozenset(changed)

    def closed(self, now: Mapping[tuple[Dataplane, str], str]) -> frozenset[Dataplane]:
        """These listeners Envoy cannot open, and why; of which Envoys that is new."""
        before, self._closed = self._closed, dict(now)
        others = before.items() ^ self._closed.items()
        return frozenset(dataplane for (dataplane, _), _ in others)

    def result(self, world: Store, identity: Identity, found: AnyResult | None) -> AnyResult | None:
        """What is to be said of an object whose result is *found*."""
        if identity in self._refused:
            return self._refused[identity]
        if not isinstance(found, _Programmable):
            return found
        gateway = identity if isinstance(found, GatewayResult) else _gateway_of(world, identity)
        if gateway is None:
            return found
        dataplane = world.get(dataplane_of, gateway)
        generation = world.get(generations, dataplane).get(identity)
        if self._taken.get(dataplane, {}).get(identity, -1) != generation:
            return _unprogrammed(found, PENDING, _NOT_YET)
        if not self._closed:
            return found
        wrong = {
            each.name: why
            for each in world.get(listeners_of, gateway)
            if each.served and each.owner == identity
            if (why := self._closed.get((dataplane, each.table.partition("/")[0]))) is not None
        }
        return _closed(found, wrong)


def _gateway_of(world: Store, identity: Identity) -> Identity | None:
    found = world.any_object(identity)
    return gateway_of(found) if isinstance(found, ListenerSet) else None


def _unprogrammed(found: _Programmable, reason: str, message: str) -> _Programmable:
    listeners = tuple(_listener(each, reason, message) for each in found.listeners)
    return replace(
        found, conditions=_not(found.conditions, "Programmed", reason, message), listeners=listeners
    )


def _closed(found: _Programmable, wrong: Mapping[str, str]) -> _Programmable:
    """*wrong*: name of a listener → why it is not open."""
    if not wrong:
        return found
    listeners = tuple(
        _listener(each, REFUSED, wrong[each.name]) if each.name in wrong else each for each in found.listeners
    )
    conditions = found.conditions
    if not any(_holds(each.conditions, "Programmed") for each in listeners):
        conditions = _not(conditions, "Programmed", REFUSED, next(iter(wrong.values())))
    return replace(found, conditions=conditions, listeners=listeners)


def _listener(found: ListenerResult, reason: str, message: str) -> ListenerResult:
    return replace(found, conditions=_not(found.conditions, "Programmed", reason, message))


def _refused(found: AnyResult, why: str) -> AnyResult:
    match found:
        case GatewayResult() | ListenerSetResult():
            return _unprogrammed(found, REFUSED, why)
        case RouteResult():
            return replace(found, parents=_parents(found.parents, "UnsupportedValue", why))
        case PoolResult():
            return replace(found, parents=_parents(found.parents, "NotSupportedByParent", why))
        case Result():
            return replace(found, conditions=_not(found.conditions, "Accepted", REFUSED, why))
        case _:
            return found


def _parents(found: tuple[Parent, ...], reason: str, why: str) -> tuple[Parent, ...]:
    return tuple(replace(each, conditions=_not(each.conditions, "Accepted", reason, why)) for each in found)


def _not(conditions: Conditions, type_: str, reason: str, message: str) -> Conditions:
    """A condition that holds does not, for this reason."""
    return tuple(
        Condition(type_, "False", reason, message, each.observed_generation)
        if each.type == type_ and each.status == "True"
        else each
        for each in conditions
    )


def _holds(conditions: Conditions, type_: str) -> bool:
    return any(each.type == type_ and each.status == "True" for each in conditions)
