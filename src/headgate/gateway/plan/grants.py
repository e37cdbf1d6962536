"""ReferenceGrants: who may refer to objects of another namespace."""

from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import ReferenceGrant
from headgate.model.store import Store


def granted(world: Store, source: Identity, group: str, kind: str, namespace: str, name: str) -> bool:
    """Whether *source* may refer to the object; always within its own namespace."""
    if namespace == source.namespace:
        return True
    return any(
        (each.group, each.kind, each.namespace) == (source.group, source.kind, source.namespace)
        and (to.group, to.kind) == (group, kind)
        and to.name in (None, name)
        for grant in _grants(world, namespace)
        for each in grant.spec.from_
        for to in grant.spec.to
    )


def refused(source: Identity, group: str, kind: str, namespace: str) -> str:
    """The sentence for a reference that is not granted: what to write where."""
    return (
        f"no ReferenceGrant in namespace {namespace} lets {source.kind}s of {source.namespace} refer to it; "
        f"write one there, with from: [{{group: {source.group or GATEWAY_GROUP}, kind: {source.kind}, "
        f"namespace: {source.namespace}}}] and to: [{{group: {group or repr('')}, kind: {kind}}}]"
    )


def _grants(world: Store, namespace: str) -> tuple[ReferenceGrant, ...]:
    found = (world.any_object(each) for each in world.kind(ReferenceGrant, namespace))
    return tuple(each for each in found if isinstance(each, ReferenceGrant))
