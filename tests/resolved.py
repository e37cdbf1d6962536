"""Snapshots looked at through the tracker."""

from headgate.gateway.half import world_of
from headgate.gateway.settings import GatewaySettings
from headgate.model import topology
from headgate.model.endpoints import Pool
from headgate.model.problems import Problem
from headgate.model.snapshot import Snapshot, follow
from headgate.model.store import Store


def world(snapshot: Snapshot, settings: GatewaySettings | None = None) -> Store:
    """A store with everything of *snapshot*."""
    found = world_of(settings or GatewaySettings())
    follow(found, snapshot)
    return found


def resolve_pools(snapshot: Snapshot) -> tuple[tuple[Pool, ...], tuple[Problem, ...]]:
    """All pools of *snapshot*, and what is wrong with them and what they use."""
    return topology.resolved(world(snapshot))
