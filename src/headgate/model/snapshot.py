"""All objects at one instant: what a source yields and both halves start from."""

from collections.abc import Mapping, Sequence

import msgspec

from headgate.model.absent import broken_tables
from headgate.model.api_keys import ApiKey
from headgate.model.forbidden import Own
from headgate.model.objects import Object
from headgate.model.problems import Problem
from headgate.model.store import Change, Store


class Snapshot(msgspec.Struct, frozen=True):
    """Every object that counts now. Whole, never a difference; sorted, so that equal inputs are equal."""

    objects: tuple[Object, ...] = ()
    """Ordered by kind, namespace, name; identities are unique."""
    addresses: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """Host name → IP addresses, for the hosts of ModelServer URLs; a missing host did not resolve."""
    problems: tuple[Problem, ...] = ()
    """What was wrong with the text the objects came from."""
    authorities: Mapping[str, str] = msgspec.field(default_factory=dict)
    """Path → CA certificates (PEM), for the `caFile` of ModelServers; a missing one could not be read."""
    api_keys: Mapping[str, ApiKey] = msgspec.field(default_factory=dict)
    """`namespace/name` of a ModelServer → its key, where it names one that could be read."""
    own: Own = Own()
    """Where the gateway that serves this listens itself."""


def differences(world: Store, snapshot: Snapshot) -> list[Change]:
    """What leads from the store's objects to those of *snapshot*; instances that are the same cost little."""
    now = {each.identity: each for each in snapshot.objects}
    changes = [Change(key, each) for key, each in now.items() if world.held(key) is not each]
    changes += [Change(key, None) for key in world.identities() if key not in now]
    return changes


def follow(world: Store, snapshot: Snapshot, changes: Sequence[Change] | None = None) -> None:
    """Make the store's objects and tables those of *snapshot*; *changes* where `differences` was asked
    already."""
    world.put("addresses", snapshot.addresses)
    world.put("authorities", snapshot.authorities)
    world.put("api_keys", snapshot.api_keys)
    broken, kinds = broken_tables(snapshot.problems)
    world.put("broken", broken)
    world.put("broken kinds", kinds)
    world.set("settings", "own", snapshot.own)
    world.apply(differences(world, snapshot) if changes is None else changes)
