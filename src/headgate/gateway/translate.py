"""The whole of a snapshot at once: Envoy's resources, what is wrong, what is served.

For commands that look at manifests, and for tests. What runs follows changes instead (`gateway/half.py`).
"""

from collections.abc import Mapping

import msgspec

from headgate.gateway import resources
from headgate.gateway.envoy import access, secrets
from headgate.gateway.envoy.names import Json
from headgate.gateway.half import note_settled, world_of
from headgate.gateway.plan import advice, hosts, problems, summary
from headgate.gateway.plan.classes import ALL, Dataplane
from headgate.gateway.plan.results import of_objects
from headgate.gateway.plan.results.of_objects import AnyResult
from headgate.gateway.plan.summary import Summary
from headgate.gateway.settings import GatewaySettings
from headgate.gateway.xds.versions import KINDS
from headgate.model.meta import Identity
from headgate.model.problems import Problem
from headgate.model.snapshot import Snapshot, follow
from headgate.model.store import Store

ALWAYS = ("listener", "route", "cluster", "endpoint")
"""Kinds that are shown when there are none, too."""


class Translation(msgspec.Struct, frozen=True):
    """A whole configuration. Equal snapshots give equal translations."""

    resources: Mapping[str, Mapping[str, Json]]
    """`listener`, `route`, `cluster`, … → name → resource in protobuf JSON."""
    problems: tuple[Problem, ...]
    """Ordered, without those that the snapshot brought along."""
    summary: Summary
    notes: tuple[Problem, ...] = ()
    """For whoever checks manifests: nothing to mend."""
    results: Mapping[Identity, AnyResult] = msgspec.field(default_factory=dict)
    """What became of every object of ours, as Kubernetes shows it."""


def translate(
    snapshot: Snapshot, settings: GatewaySettings, dataplane: Dataplane = ALL, *, with_secrets: bool = False
) -> Translation:
    """Translate everything for one Envoy. Never raises for wrong objects: each is a Problem and the rest is
    served. Keys are left out unless the result is for an Envoy (*with_secrets*)."""
    world = world_of(settings)
    follow(world, snapshot)
    note_settled(world)
    names = world.get(resources.names_of, dataplane)
    show = resources.as_json if with_secrets else _shown
    found: set[Problem] = set()
    notes: set[Problem] = set()
    for identity in world.get(problems.judged):
        found.update(world.get(problems.problems_of, identity))
        notes.update(world.get(advice.notes_of, identity))
    for each in world.get(hosts.all_hosts):
        found.update(world.get(hosts.shadowed, each))
    return Translation(
        resources={
            kind: {name: show(world, (dataplane, kind, name)) for name in sorted(names.get(kind, ()))}
            for kind in KINDS
            if kind in ALWAYS or names.get(kind)
        },
        problems=tuple(sorted(world.located(each) for each in found)),
        notes=tuple(sorted(world.located(each) for each in notes)),
        summary=world.get(summary.summary, dataplane),
        results={
            each: found_result
            for each in sorted(world.get(of_objects.judged))
            if (found_result := world.get(of_objects.result, each)) is not None
        },
    )


def _shown(world: Store, key: resources.Key) -> Json:
    """What may be printed of a resource: no private key, and no key of a client or for a backend."""
    found = world.get(resources.as_json, key)
    return secrets.shown(found) if key[1] == "secret" else access.masked(found)
