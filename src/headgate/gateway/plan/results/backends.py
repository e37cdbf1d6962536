"""Results of InferencePools, and of policies for backends: each Gateway that leads to them."""

from collections.abc import Iterator

import msgspec

from headgate.gateway.plan import backend_tls, grants, imports
from headgate.gateway.plan.attachment import attachments
from headgate.gateway.plan.classes import settings
from headgate.gateway.plan.results.conditions import (
    Condition,
    Conditions,
    Parent,
    ParentRef,
    condition,
    resolved,
)
from headgate.model import topology
from headgate.model.meta import GATEWAY_GROUP, Identity
from headgate.model.objects import EXPORT, BackendTLSPolicy, InferencePool, InferencePoolImport
from headgate.model.store import Store


class PoolResult(msgspec.Struct, frozen=True):
    """Status of an InferencePool."""

    parents: tuple[Parent, ...]


class ImportEntry(msgspec.Struct, frozen=True):
    """What we say of an InferencePoolImport."""

    name: str
    """Ours: the controller's."""
    parents: tuple[Parent, ...]


class ImportResult(msgspec.Struct, frozen=True):
    """Status of an InferencePoolImport: our entry, or none."""

    controllers: tuple[ImportEntry, ...]


class Ancestor(msgspec.Struct, frozen=True, rename="camel"):
    """What became of a policy at one Gateway."""

    ancestor_ref: ParentRef
    controller_name: str
    conditions: Conditions


class PolicyResult(msgspec.Struct, frozen=True):
    """Status of a policy of the Gateway API."""

    ancestors: tuple[Ancestor, ...]


def gateways_to(world: Store, group: str, kind: str, namespace: str, name: str) -> tuple[Identity, ...]:
    """Gateways of ours with routes that may lead to a backend, ordered."""
    found = {
        each.listener.gateway
        for route in world.indexed("backend", (kind, namespace, name))
        if grants.granted(world, route, group, kind, namespace, name)
        for each in world.get(attachments, route)
    }
    return tuple(sorted(found))


def of_pool(world: Store, pool: InferencePool) -> PoolResult:
    """Without entries where no route leads to it."""
    generation = pool.metadata.generation
    problems = world.get(topology.pool_problems, pool.identity)
    wrong = [(each.reason, each.message) for each in problems if each.reason == "InvalidExtensionRef"]
    superseded = [each for each in problems if each.reason == "Superseded"]
    if superseded:
        first = condition("Accepted", False, "NotSupportedByParent", superseded[0].message, generation)
    else:
        first = condition("Accepted", True, "Accepted", "", generation)
    conditions = (first, resolved(wrong, generation))
    gateways = set(world.get(gateways_to, pool.GROUP, "InferencePool", pool.namespace, pool.name))
    if pool.metadata.annotations.get(EXPORT) == "ClusterSet":
        by_import = (InferencePoolImport.GROUP, InferencePoolImport.KIND)
        gateways.update(world.get(gateways_to, *by_import, pool.namespace, pool.name))
    ours = settings(world).controller
    return PoolResult(tuple(Parent(_ref(each), ours, conditions) for each in sorted(gateways)))


def of_import(world: Store, found: InferencePoolImport) -> ImportResult:
    """Without an entry where no route leads to it."""
    generation = found.metadata.generation
    if imports.local_pool(world, found) is None:
        message = imports.out_of_reach(world, found)
        conditions: Conditions = (condition("Accepted", False, "NotSupportedByParent", message, generation),)
    else:
        accepted = condition("Accepted", True, "Accepted", imports.rest(found), generation)
        conditions = (accepted, resolved((), generation))
    gateways = world.get(gateways_to, found.GROUP, found.KIND, found.namespace, found.name)
    ours = settings(world).controller
    parents = tuple(Parent(_ref(each), ours, conditions) for each in gateways)
    return ImportResult((ImportEntry(ours, parents),) if parents else ())


def of_backend_tls(world: Store, policy: BackendTLSPolicy) -> PolicyResult:
    """Without entries where no route leads to its backends."""
    conditions = tuple(_of_policy(world, policy))
    gateways = {
        each
        for ref in policy.spec.target_refs
        for each in world.get(gateways_to, ref.group, ref.kind, policy.namespace, ref.name)
    }
    ours = settings(world).controller
    return PolicyResult(tuple(Ancestor(_ref(each), ours, conditions) for each in sorted(gateways)))


def _of_policy(world: Store, policy: BackendTLSPolicy) -> Iterator[Condition]:
    generation = policy.metadata.generation
    read = world.get(backend_tls.read, policy.identity)
    if isinstance(read, backend_tls.Wrong):
        yield condition("Accepted", False, read.reason, read.message, generation)
        reason = "InvalidKind" if read.reference == "InvalidKind" else "InvalidCACertificateRef"
        yield resolved([(reason, read.message)] if read.reference else [], generation)
        return
    for ref in policy.spec.target_refs:
        ports = world.get(backend_tls.ports_of, policy.namespace, ref.name, ref.section_name)
        winners = {
            world.get(backend_tls.chosen, ref.kind, policy.namespace, ref.name, each) for each in ports
        }
        if ports and policy.identity not in winners:
            message = "another BackendTLSPolicy counts for this backend"
            yield condition("Accepted", False, "Conflicted", message, generation)
            break
    else:
        yield condition("Accepted", True, "Accepted", "", generation)
    yield resolved((), generation)


def _ref(gateway: Identity) -> ParentRef:
    return ParentRef(gateway.name, gateway.namespace, GATEWAY_GROUP, "Gateway")
