"""Who picks for a pool: our picker, or another one that its object names."""

from collections.abc import Iterator
from typing import cast, get_args

from headgate.model import absent
from headgate.model.endpoints import BodyMode, ForeignPicker
from headgate.model.ids import EndpointId
from headgate.model.meta import Identity
from headgate.model.objects import EndpointPickerRef, InferencePool, Service
from headgate.model.problems import Place, Problem
from headgate.model.services import service_addresses, service_port
from headgate.model.store import Store

PICKER_TLS = "headgate.dev/picker-tls"
"""Service annotation: `"false"` turns TLS towards a foreign picker off."""

PICKER_BODY_MODE = "headgate.dev/picker-body-mode"
"""Annotation of pools and of pickers' Services: a `BodyMode`; the pool's counts first."""

OWN_PICKER_SERVICE = "headgate-picker"
"""Name of a picker's Service that says that Headgate's own picker is meant."""


def named_by(world: Store, found: InferencePool) -> ForeignPicker | None:
    """The picker that the pool *found* names; None: ours. Who is alive has no say in it."""
    ref = found.spec.endpoint_picker_ref
    if ref is None or _is_ours(world, found.namespace, ref):
        return None
    name = ref.name if _is_service(ref) else f"{ref.kind}/{ref.name}"
    port = 0 if ref.port is None else ref.port.number
    service = f"{found.namespace}/{name}:{port}"
    tls = _speaks_tls(world, found.namespace, name)
    return ForeignPicker(service, tls, _body_mode(world, found, name, service))


def _is_service(ref: EndpointPickerRef) -> bool:
    return (ref.group, ref.kind) == ("", "Service")


def _is_ours(world: Store, namespace: str, ref: EndpointPickerRef) -> bool:
    """Whether Headgate's own picker serves the pools that refer to *ref*."""
    if _is_service(ref) and ref.name in _own_names(world):
        return True
    if in_cluster(world):
        return False
    return not _is_service(ref) or ref.port is None or not _is_written(world, namespace, ref.name)


def _own_names(world: Store) -> tuple[str, ...]:
    names = world.entry("settings", "own_picker_names")
    return names if isinstance(names, tuple) else (OWN_PICKER_SERVICE,)


def in_cluster(world: Store) -> bool:
    """Whether the objects are a cluster's, where what is not there is missing. Otherwise they are files, and
    those of a cluster name pickers that nobody runs on a plain machine."""
    return bool(world.entry("settings", "cluster"))


def _is_written(world: Store, namespace: str, name: str) -> bool:
    """Whether a Service is there, and an EndpointSlice that says, well or ill, where it answers."""
    there = world.object(Service, namespace, name) is not None
    return there and world.get(_has_slices, namespace, name)


def _has_slices(world: Store, namespace: str, name: str) -> bool:
    return bool(world.indexed("service", (namespace, name)))


def _body_mode(world: Store, pool: InferencePool, name: str, service: str) -> BodyMode:
    """What an annotation says, else what was found out about the picker, else what the gateway is told."""
    there = world.object(Service, pool.namespace, name)
    said: list[object] = [each.metadata.annotations.get(PICKER_BODY_MODE) for each in (pool, there) if each]
    said += [world.entry(PICKER_MODES, service), world.entry("settings", "picker_body_mode")]
    for each in said:
        if each in get_args(BodyMode):
            return cast("BodyMode", each)
    return "full-duplex"


PICKER_MODES = "picker modes"
"""Table: `namespace/name:port` of a foreign picker → the `BodyMode` that was found out."""


def _speaks_tls(world: Store, namespace: str, name: str) -> bool:
    service = world.object(Service, namespace, name)
    return service is None or service.metadata.annotations.get(PICKER_TLS) != "false"


def picker_by_service(world: Store, service: str) -> ForeignPicker:
    """The picker at `namespace/name:port`."""
    namespace, name, _ = split_service(service)
    return ForeignPicker(service, _speaks_tls(world, namespace, name))


def picker_addresses(world: Store, service: str) -> tuple[EndpointId, ...]:
    """Ready addresses of the picker at `namespace/name:port`; none while its Service is wrong."""
    return tuple(each.id for each in world.get(service_addresses, *split_service(service)))


def split_service(service: str) -> tuple[str, str, int]:
    """Namespace, name and port of `namespace/name:port`."""
    namespace, _, rest = service.partition("/")
    name, _, port = rest.rpartition(":")
    return namespace, name, int(port)


def picker_notes(world: Store, pool: Identity) -> Iterator[Problem]:
    """That our picker serves a pool whose object names another one, which is nowhere to be found."""
    found = world.any_object(pool)
    assert isinstance(found, InferencePool)
    ref = found.spec.endpoint_picker_ref
    if ref is None or ref.name in _own_names(world) or not _is_service(ref) or in_cluster(world):
        return
    service = world.object(Service, found.namespace, ref.name)
    if service is None and not world.kind(Service, found.namespace):
        what = f"there is no Service {found.namespace}/{ref.name} in the files"
    elif service is not None and not world.get(_has_slices, found.namespace, ref.name):
        what = f"no EndpointSlice in the files gives Service {found.namespace}/{ref.name} an address"
    else:
        return
    where = Place(object=str(pool), field=f"{found.PICKER_FIELD}.name")
    yield Problem(where, "OwnPicker", f"{what}, so Headgate's own picker serves the pool", "note")


def picker_problems(world: Store, pool: InferencePool) -> Iterator[Problem]:
    """What is wrong with the reference of a pool to its picker."""
    ref = pool.spec.endpoint_picker_ref
    if ref is None:
        return
    where = Place(object=str(pool.identity), field=pool.PICKER_FIELD)
    ours = _is_ours(world, pool.namespace, ref)
    failing = f"the pool's failureMode {ref.failure_mode} decides what becomes of requests"
    until = "our own picker is used" if ours else f"until that is mended {failing}"
    if not _is_service(ref):
        kind = f"{ref.group}/{ref.kind}"
        message = f"an endpoint picker must be a Service, not {kind}; {until}"
        yield Problem(where, "InvalidExtensionRef", message)
        return
    if ref.name in _own_names(world) or (ours and ref.port is None):
        return
    namespace, number = pool.namespace, 0 if ref.port is None else ref.port.number
    service = world.object(Service, namespace, ref.name)
    if service is None and not ours:
        missing = absent.sentence(world, "Service", namespace, ref.name)
        yield Problem(where, "InvalidExtensionRef", f"{missing}; {until}")
    elif service is None:
        if world.kind(Service, namespace):
            missing = absent.sentence(world, "Service", namespace, ref.name)
            own = f"Headgate's own picker is used; where it is meant write name: {OWN_PICKER_SERVICE}"
            yield Problem(where, "ServiceNotFound", f"{missing}, so {own}", "warning")
    elif service.spec.type == "ExternalName" or service_port(world, namespace, ref.name, number) is None:
        yield Problem(where, "InvalidExtensionRef", f"Service {ref.name} has no TCP port {number}; {until}")
    elif not ours and not world.get(service_addresses, namespace, ref.name, number):
        message = f"the picker's Service {namespace}/{ref.name} has no ready address, so that {failing}"
        yield Problem(where, "PickerNotReady", message, "warning")
