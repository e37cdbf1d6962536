"""BackendTLSPolicies: which of them counts for a backend, and what it makes of it."""

import msgspec

from headgate.gateway import ir
from headgate.gateway.plan.certificates import authorities
from headgate.model.meta import Identity
from headgate.model.objects import BackendTLSPolicy, Service
from headgate.model.services import service_port
from headgate.model.store import Store

EVERY_ENDPOINT = ""
"""Label of TLS settings that hold for all endpoints of a cluster."""


class Wrong(msgspec.Struct, frozen=True):
    """Why a policy cannot be used: the backend is not served, rather than served in clear text."""

    reason: str
    message: str
    field: str
    reference: str = ""
    """Reason of the reference that leads nowhere, where that is why."""


def of_service(world: Store, namespace: str, name: str, number: int) -> ir.UpstreamTls | Wrong | None:
    """What holds for a Service port; None: no policy is for it."""
    policy = chosen(world, "Service", namespace, name, number)
    return None if policy is None else world.get(read, policy)


def chosen(world: Store, kind: str, namespace: str, name: str, number: int) -> Identity | None:
    """The policy that counts: one for the port before one for the whole Service; of equals the oldest."""
    port = service_port(world, namespace, name, number)
    found: list[tuple[bool, tuple[str, str, str], Identity]] = []
    for identity in world.indexed("policy", (BackendTLSPolicy.KIND, kind, namespace, name)):
        policy = world.any_object(identity)
        assert isinstance(policy, BackendTLSPolicy)
        for target in policy.spec.target_refs:
            if (target.kind, target.name) != (kind, name):
                continue
            if target.section_name in (None, port.name if port is not None else None):
                found.append((target.section_name is None, policy.age_key, identity))
    return min(found)[2] if found else None


def ports_of(world: Store, namespace: str, name: str, section: str | None) -> tuple[int, ...]:
    """Ports of a Service that a policy for *section* (a port's name; None: all) is for."""
    service = world.object(Service, namespace, name)
    ports = service.spec.ports if service is not None else ()
    return tuple(port.port for port in ports if section in (None, port.name))


def read(world: Store, policy: Identity) -> ir.UpstreamTls | Wrong:
    """What a policy says."""
    found = world.any_object(policy)
    assert isinstance(found, BackendTLSPolicy)
    validation = found.spec.validation
    well_known = validation.well_known_ca_certificates
    pem: str | None = None
    if well_known is not None and well_known != "System":
        message = f"{well_known!r} is unknown: write System, or caCertificateRefs"
        return Wrong("Invalid", message, "spec.validation.wellKnownCACertificates")
    if well_known is None:
        pem, problems = authorities(world, policy, validation.ca_certificate_refs)
        if not pem:
            first = problems[0]
            field, reference = "spec.validation.caCertificateRefs", first.reason
            return Wrong("NoValidCACertificate", first.message, field, reference)
    return ir.UpstreamTls(
        hostname=validation.hostname,
        authorities=pem,
        names=tuple(
            ("URI", each.uri or "") if each.type == "URI" else ("DNS", each.hostname or "")
            for each in validation.subject_alt_names
        ),
    )
