"""What each Gateway of ours is to be run by, as a computation over the store."""

from headgate.gateway.plan.classes import dataplane_of, foreign_controller
from headgate.gateway.plan.listeners import dataplane_listeners
from headgate.gateway.provision.objects import Wanted, wanted
from headgate.gateway.provision.settings import ProvisionSettings
from headgate.model.meta import HEADGATE_GROUP, Identity
from headgate.model.objects import Gateway, GatewayClass, GatewayParameters, GatewayParametersSpec
from headgate.model.store import Store

TABLE, KEY = "settings", "provision"
"""Where the store has the settings; without them nothing is provisioned."""


def gateways(world: Store) -> frozenset[Identity]:
    """Gateways that an Envoy is to be made for."""
    if world.entry(TABLE, KEY) is None:
        return frozenset()
    return frozenset(each for each in world.kind(Gateway) if world.get(foreign_controller, each) is None)


def desired(world: Store, identity: Identity) -> Wanted | str | None:
    """The objects of one Gateway; None: of none that is ours, or of one that is being deleted; text: why its
    parameters cannot be used."""
    gateway = world.any_object(identity)
    told = world.entry(TABLE, KEY)
    if not isinstance(gateway, Gateway) or not isinstance(told, ProvisionSettings):
        return None
    if gateway.metadata.deletion_timestamp is not None:
        return None
    spec = world.get(parameters, identity)
    if isinstance(spec, str):
        return spec
    listeners = world.get(dataplane_listeners, world.get(dataplane_of, identity))
    return wanted(gateway, spec, [each.declared for each in listeners if each.served], told)


def parameters(world: Store, identity: Identity) -> GatewayParametersSpec | str:
    """Those that a Gateway or else its class names, or why they cannot be used."""
    gateway = world.any_object(identity)
    assert isinstance(gateway, Gateway)
    extra = gateway.spec.infrastructure
    ref = extra.parameters_ref if extra is not None else None
    namespace = gateway.namespace
    if ref is None:
        its_class = world.object(GatewayClass, "", gateway.spec.gateway_class_name)
        of_class = its_class.spec.parameters_ref if its_class is not None else None
        if of_class is None:
            return GatewayParametersSpec()
        if of_class.namespace is None:
            return f"parametersRef of GatewayClass {gateway.spec.gateway_class_name} needs a namespace"
        ref, namespace = of_class, of_class.namespace
    if (ref.group, ref.kind) != (HEADGATE_GROUP, "GatewayParameters"):
        said = f"parameters of kind {ref.kind} in {ref.group or 'the core group'} are unknown"
        return f"{said}; use GatewayParameters of {HEADGATE_GROUP}"
    found = world.object(GatewayParameters, namespace, ref.name)
    if found is None:
        return f"there is no GatewayParameters {namespace}/{ref.name}"
    return found.spec
