"""Which policy of a kind counts for an object, or for a section of it: the oldest."""

from headgate.model.meta import Identity
from headgate.model.objects import AccessPolicy, BackendAuthPolicy, FlowPolicy
from headgate.model.objects.access import AccessTarget, BackendTarget
from headgate.model.objects.flow import FlowTarget
from headgate.model.store import Store

Policy = AccessPolicy | BackendAuthPolicy | FlowPolicy


def oldest(
    world: Store, cls: type[Policy], kind: str, namespace: str, name: str, section: str | None = None
) -> Identity | None:
    """The oldest policy for an object (*section* None) or for a section of it; of equals the first name."""
    found: list[tuple[tuple[str, str, str], Identity]] = []
    for identity in world.indexed("policy", (cls.KIND, kind, namespace, name)):
        policy = world.any_object(identity)
        assert isinstance(policy, AccessPolicy | BackendAuthPolicy | FlowPolicy)
        wanted = kind, name, section
        if any(wanted == (ref.kind, ref.name, _section(ref)) for ref in policy.spec.target_refs):
            found.append((policy.age_key, identity))
    return min(found)[1] if found else None


def of_listener(gateway: Identity, owner: Identity, name: str) -> tuple[tuple[Identity, str | None], ...]:
    """What a policy may name to count for a listener that is written in *owner*, the nearest first."""
    return (owner, name), (owner, None), (gateway, None)


def _section(ref: AccessTarget | BackendTarget | FlowTarget) -> str | None:
    return None if isinstance(ref, BackendTarget) else ref.section_name
