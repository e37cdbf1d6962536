"""Which FlowPolicy counts for the requests of a rule or of a listener, besides that of their pool."""

from collections.abc import Iterable

from headgate.model import policies
from headgate.model.flow_policies import chosen, name_of
from headgate.model.meta import Identity
from headgate.model.store import Store


def of_rule(world: Store, route: Identity, rule: str | None) -> str | None:
    """`namespace/name` of the policy for a rule by its name, else for its route; None: there is none."""
    sections = (None,) if rule is None else (rule, None)
    return _first(world, [(route, section) for section in sections])


def of_listener(world: Store, gateway: Identity, owner: Identity, name: str) -> str | None:
    """The same for a listener that is written in *owner*: its own, else *owner*'s, else the Gateway's."""
    return _first(world, policies.of_listener(gateway, owner, name))


def _first(world: Store, targets: Iterable[tuple[Identity, str | None]]) -> str | None:
    for target, section in targets:
        found = world.get(chosen, target.kind, target.namespace, target.name, section)
        if found is not None:
            return name_of(found)
    return None
