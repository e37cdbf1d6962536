"""Which Gateways are ours, and which data plane serves them."""

import msgspec

from headgate.gateway.settings import GatewaySettings
from headgate.model import pickers
from headgate.model.meta import Identity
from headgate.model.objects import Gateway, GatewayClass
from headgate.model.store import Store

NOBODY = "nobody"
"""Whose Gateways of a class are that does not exist."""

ALL = "all"
"""The dataplane that serves every Gateway, on a plain machine."""

Dataplane = str
"""The Envoys that are told the same: `ALL`, or `namespace/name` of the Gateway that they are there for. Other
targets, of models, policies and ports, are the APIs' words."""


def settings(world: Store) -> GatewaySettings:
    """What the gateway half was told besides the objects."""
    found = world.entry("settings", "gateway")
    assert isinstance(found, GatewaySettings), "whoever makes the store puts them there"
    return found


def foreign_controller(world: Store, gateway: Identity) -> str | None:
    """Whose Gateway it is when it is not ours. A class that nobody wrote down is ours on a plain machine,
    which needs none, and nobody's on a cluster."""
    found = world.any_object(gateway)
    assert isinstance(found, Gateway)
    its_class = world.object(GatewayClass, "", found.spec.gateway_class_name)
    if its_class is None:
        return NOBODY if pickers.in_cluster(world) else None
    if its_class.spec.controller_name == settings(world).controller:
        return None
    return its_class.spec.controller_name


def our_gateways(world: Store) -> tuple[Identity, ...]:
    """Gateways of our class, the oldest first."""
    found = [each for each in world.kind(Gateway) if world.get(foreign_controller, each) is None]
    return tuple(sorted(found, key=lambda each: world.get(age_key, each)))


class Claim(msgspec.Struct, frozen=True):
    """What a class of ours is to be marked with."""

    uid: str
    in_use: bool
    """Gateways have it, so that it must not go: without it they would be nobody's."""


def our_classes(world: Store) -> frozenset[Identity]:
    """GatewayClasses of this controller."""
    found = {each: world.any_object(each) for each in world.kind(GatewayClass)}
    ours = settings(world).controller
    return frozenset(
        identity
        for identity, each in found.items()
        if isinstance(each, GatewayClass) and each.spec.controller_name == ours
    )


def classes_in_use(world: Store) -> frozenset[str]:
    """Names of classes that Gateways have."""
    found = (world.any_object(each) for each in world.kind(Gateway))
    return frozenset(each.spec.gateway_class_name for each in found if isinstance(each, Gateway))


def claim(world: Store, its_class: Identity) -> Claim | None:
    """None: it is gone."""
    found = world.any_object(its_class)
    if found is None:
        return None
    return Claim(found.metadata.uid, its_class.name in world.get(classes_in_use))


def age_key(world: Store, identity: Identity) -> tuple[str, str, str]:
    """Sorts the oldest object first; of what is gone, by name."""
    found = world.any_object(identity)
    return found.age_key if found is not None else ("~", identity.namespace, identity.name)


def dataplane_of(world: Store, gateway: Identity) -> Dataplane:
    """The Envoy that serves *gateway*."""
    return f"{gateway.namespace}/{gateway.name}" if settings(world).per_gateway else ALL


def dataplanes(world: Store) -> frozenset[Dataplane]:
    """Every Envoy there is to be."""
    if not settings(world).per_gateway:
        return frozenset((ALL,))
    return frozenset(world.get(dataplane_of, each) for each in world.get(our_gateways))


def gateways_of(world: Store, dataplane: Dataplane) -> tuple[Identity, ...]:
    """The Gateways of one Envoy, the oldest first."""
    return tuple(each for each in world.get(our_gateways) if world.get(dataplane_of, each) == dataplane)
